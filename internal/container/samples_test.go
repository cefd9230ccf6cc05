package container

func texts(documents ...string) (all [][]byte) {
	for _, d := range documents {
		all = append(all, []byte(d))
	}
	return all
}
