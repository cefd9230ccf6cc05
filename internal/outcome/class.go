package outcome

// Class says what became of a document, or of a whole request, and so what is
// to be done next.
type Class int

// The classes.
const (
	Indexed   Class = iota // the document is there, from now or from earlier
	Poison                 // this document will never be taken, however often it is sent
	Transient              // no document's fault; send it again later; never dead-lettered
	TooLarge               // too much together; send it in smaller parts
	Undecided              // an error of a type that the sink's table does not know
	Refused                // the whole request is refused, and not one document of it named
)

// String names the class in logs and metrics.
func (c Class) String() string {
	return [...]string{"indexed", "poison", "transient", "too_large", "undecided", "refused"}[c]
}
