"""Counts and groups the records of a backup with Spark, as EMR runs it:

    spark-submit count.py --schema telemetry.spark.json --objects s3://BUCKET/backup/ --ids s3://BUCKET/ids/

The schema is deploy/tables/telemetry.spark.json: nothing is inferred. A record
that is there twice, since an agent has sent it twice, counts once among the
ids. What it prints is one JSON object a line: the groups, and last the totals.
"""

import argparse
import json

from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import StructType


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
    records = (
        spark.read.schema(schema)
        .json(arguments.objects)
        .select(
            "type", "tenant", "doc_id", "backup_data",
            f.concat_ws(" ", "dt", "hour").alias("hour"),  # in which they arrived
        )
        .cache()
    )
    ours = records.where(f.col("doc_id").isNotNull())

    def print_groups(name):
        groups = ours.groupBy(name).agg(f.count("*").alias("records"), f.countDistinct("doc_id").alias("ids"))
        for row in groups.orderBy(name).collect():
            print(json.dumps({"group": name, "value": row[name], "records": row["records"], "ids": row["ids"]}))

    for name in ("type", "tenant", "hour"):
        print_groups(name)
    ours.select("doc_id").distinct().write.text(arguments.ids)
    foreign = records.where(f.col("doc_id").isNull() & f.col("backup_data").isNotNull()).count()
    everything, of_ours = records.count(), ours.count()
    print(json.dumps({
        "records": of_ours,
        "ids": ours.select("doc_id").distinct().count(),
        "foreign": foreign,  # that no collector wrote
        "unreadable": everything - of_ours - foreign,
    }))
    spark.stop()


if __name__ == "__main__":
    main()
