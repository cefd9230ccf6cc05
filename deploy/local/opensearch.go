package local

const opensearchVersion = "2.19.6"

// opensearch is the real server, in the distribution that its makers publish for integration tests.
func opensearch(heap string) definition {
	if heap == "" {
		heap = "512m"
	}
	return searchEngine{
		name: OpenSearch, version: opensearchVersion, group: "org.opensearch.distribution.integ-test-zip",
		port: 9201, heap: heap, variables: "OPENSEARCH", address: EnvOpenSearch,
	}.definition()
}
