package tables

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
)

const pollQuery = 100 * time.Millisecond

// Query runs a statement in Athena and returns its rows, without the head, which
// leaves its result below output (s3://…/).
func Query(ctx context.Context, client *athena.Client, database, output, statement string) ([][]string, error) {
	started, err := client.StartQueryExecution(ctx, &athena.StartQueryExecutionInput{
		QueryString: &statement, QueryExecutionContext: &types.QueryExecutionContext{Database: &database},
		ResultConfiguration: &types.ResultConfiguration{OutputLocation: &output},
	})
	if err != nil {
		return nil, fmt.Errorf("start a query: %w", err)
	}
	for state := types.QueryExecutionStateQueued; state != types.QueryExecutionStateSucceeded; {
		asked, err := client.GetQueryExecution(ctx, &athena.GetQueryExecutionInput{QueryExecutionId: started.QueryExecutionId})
		if err != nil {
			return nil, fmt.Errorf("follow a query: %w", err)
		}
		switch state = asked.QueryExecution.Status.State; state {
		case types.QueryExecutionStateFailed, types.QueryExecutionStateCancelled:
			return nil, fmt.Errorf("the query is %s: %s", state, aws.ToString(asked.QueryExecution.Status.StateChangeReason))
		case types.QueryExecutionStateQueued, types.QueryExecutionStateRunning:
			select {
			case <-time.After(pollQuery):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	var rows [][]string
	pages := athena.NewGetQueryResultsPaginator(client, &athena.GetQueryResultsInput{QueryExecutionId: started.QueryExecutionId})
	for first := true; pages.HasMorePages(); first = false {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the result of a query: %w", err)
		}
		for i, row := range page.ResultSet.Rows {
			if first && i == 0 {
				continue
			}
			var cells []string
			for _, cell := range row.Data {
				cells = append(cells, aws.ToString(cell.VarCharValue))
			}
			rows = append(rows, cells)
		}
	}
	return rows, nil
}
