"""Counts and groups the records of a backup with Spark, as EMR runs it:

    spark-submit count.py --schema telemetry.spark.json --objects s3://BUCKET/backup/ --ids s3://BUCKET/ids/

The schema is deploy/tables/telemetry.spark.json: nothing is inferred. A record
that is there twice, since an agent has sent it twice, counts once among the
ids. What it prints is one JSON object a line: the groups, and last the totals.
"""

import argparse
import json

from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

# The hour is that of arrival in the stream.
COUNT = """
SELECT type, tenant, concat(dt, ' ', hour) AS hour, grouping_id() AS sets,
  count(doc_id) AS records, count(DISTINCT doc_id) AS ids,
  count_if(doc_id IS NULL AND backup_data IS NOT NULL) AS foreign,
  count_if(doc_id IS NULL AND backup_data IS NULL) AS unreadable
FROM telemetry GROUP BY GROUPING SETS ((type), (tenant), (concat(dt, ' ', hour)), ())
ORDER BY sets, type, tenant, hour
"""

# grouping_id has a bit for each column that a row is not grouped by.
GROUPS = {0b011: "type", 0b101: "tenant", 0b110: "hour"}


def main():
    parser = argparse.ArgumentParser(description="Counts and groups the records of a backup.")
    parser.add_argument("--schema", required=True, help="file of the schema")
    parser.add_argument("--objects", required=True, help="folder above dt=…/hour=…/")
    parser.add_argument("--ids", required=True, help="folder to write every distinct doc_id into, which must not be there")
    arguments = parser.parse_args()
    with open(arguments.schema, encoding="utf-8") as text:
        schema = StructType.fromJson(json.load(text))

    spark = (
        SparkSession.builder.appName("millrace-count")
        .config("spark.sql.caseSensitive", "true")  # as the keys of JSON are
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
        .getOrCreate()
    )
    records = spark.read.schema(schema).json(arguments.objects)
    records.createOrReplaceTempView("telemetry")
    for row in spark.sql(COUNT).collect():
        counts = {"records": row.records, "ids": row.ids}
        if row.sets not in GROUPS:  # of everything: it comes last
            print(json.dumps(counts | {"foreign": row.foreign, "unreadable": row.unreadable}))
        elif row.records > 0:
            name = GROUPS[row.sets]
            print(json.dumps({"group": name, "value": row[name]} | counts))
    records.where("doc_id IS NOT NULL").select("doc_id").distinct().write.text(arguments.ids)
    spark.stop()


if __name__ == "__main__":
    main()
