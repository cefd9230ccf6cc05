package tables

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
)

// Create makes a database, where there is none, and in it the table of a layout
// over the objects at a location that ends in a slash: what the statements of
// DDL do, by Glue's API.
func Create(ctx context.Context, client *glue.Client, database string, l Layout, location string) error {
	var exists *types.AlreadyExistsException
	_, err := client.CreateDatabase(ctx, &glue.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{Name: &database}})
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("create database %s: %w", database, err)
	}
	columns, err := Columns(l.Pointed)
	if err != nil {
		return err
	}
	text, external, serde := "string", "EXTERNAL_TABLE", SerDe
	in, out := "org.apache.hadoop.mapred.TextInputFormat", "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
	table := &types.TableInput{
		Name: &l.Table, TableType: &external, Parameters: l.Properties(location),
		StorageDescriptor: &types.StorageDescriptor{
			Location: &location, InputFormat: &in, OutputFormat: &out,
			SerdeInfo: &types.SerDeInfo{SerializationLibrary: &serde, Parameters: SerDeProperties(columns)},
		},
	}
	for _, c := range columns {
		table.StorageDescriptor.Columns = append(table.StorageDescriptor.Columns, types.Column{Name: &c.Name, Type: &text, Comment: &c.Comment})
	}
	for _, p := range l.Partition {
		table.PartitionKeys = append(table.PartitionKeys, types.Column{Name: &p, Type: &text})
	}
	if _, err := client.CreateTable(ctx, &glue.CreateTableInput{DatabaseName: &database, TableInput: table}); err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("create table %s: %w", l.Table, err)
	}
	return nil
}
