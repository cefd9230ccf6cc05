# A Lambda function under the thundra agent (its package is now called
# catchpoint), invoked as many times as the first argument says.
import logging
import sys
import uuid

from catchpoint.catchpoint_agent import Catchpoint
from catchpoint.plugins.log.catchpoint_log_handler import CatchpointLogHandler
from catchpoint.plugins.trace.traceable import Traceable

logger = logging.getLogger("orders")
logger.setLevel(logging.INFO)
logger.addHandler(CatchpointLogHandler())

catchpoint = Catchpoint()


@Traceable(trace_args=True, trace_return_value=True)
def price(order):
    return 42 * order


@catchpoint
def handler(event, context):
    logger.info("order %s", event["order"])
    return {"price": price(event["order"])}


class Context:
    function_name = "orders"
    function_version = "1"
    memory_limit_in_mb = "512"
    log_group_name = "/aws/lambda/orders"
    log_stream_name = "1"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders"

    def __init__(self):
        self.aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self):
        return 30000


for order in range(int(sys.argv[1])):
    handler({"order": order}, Context())
