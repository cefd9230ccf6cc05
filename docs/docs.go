// Package docs holds the documents, and tests that check their links and generated tables.
package docs

//go:generate go test -vet=off -run AreCurrent$ . -record
