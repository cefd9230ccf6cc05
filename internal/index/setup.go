package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"millrace/deploy"
)

// Layout is how telemetry indices are spread over the cluster. It takes effect
// with the next index that is made, the next day's.
type Layout struct {
	Shards   int // primary shards of each index
	Replicas int // copies of each shard beside it
}

// DefaultLayout survives the loss of one node. An index is a day of one type.
var DefaultLayout = Layout{Shards: 1, Replicas: 1}

// maxShards is index.max_number_of_shards, of both servers.
const maxShards = 1024

// Validate reports a layout that the server would refuse.
func (l Layout) Validate() error {
	if l.Shards < 1 || l.Shards > maxShards {
		return fmt.Errorf("%d shards of an index: from 1 to %d", l.Shards, maxShards)
	}
	if l.Replicas < 0 {
		return fmt.Errorf("%d replicas of a shard: not less than none", l.Replicas)
	}
	return nil
}

// Names of what Setup installs: the index templates, and their components.
const (
	templatePrefix = "millrace-"
	indexTemplate  = "telemetry"
	canaryTemplate = "canary"
)

// ErrNoTemplates says that documents would be indexed without their mapping.
var ErrNoTemplates = errors.New("the index templates are not installed, or older than this program")

// Setup installs the templates of the telemetry indices, or replaces those of
// another version. Indices that exist keep the mapping they have.
//
// Indices are made by the first document for them, so a bulk for an index that
// was just deleted makes it again, with its mapping, while the templates stand.
func (c *Client) Setup(ctx context.Context, l Layout) error {
	if err := l.Validate(); err != nil {
		return fmt.Errorf("install index templates: %w", err)
	}
	parts, err := templates(c.flavor, l)
	if err != nil {
		return fmt.Errorf("install index templates: %w", err)
	}
	for _, part := range parts { // components first
		if err := c.call(ctx, part.put(), nil); err != nil {
			return fmt.Errorf("install index template %s: %w", part.name, err)
		}
	}
	return nil
}

// Ready reports whether documents can be indexed: the server answers, and the
// templates are there. The error wraps ErrNoTemplates when they are not.
func (c *Client) Ready(ctx context.Context) error {
	return c.current(ctx, func(t template) bool { return !t.canary() })
}

// ReadyForCanary is Ready for the canary's index.
func (c *Client) ReadyForCanary(ctx context.Context) error {
	return c.current(ctx, template.canary)
}

// current reports whether those of the templates are installed that are needed.
func (c *Client) current(ctx context.Context, needed func(template) bool) error {
	all, err := c.versions(ctx, needed)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Installed < t.Wanted {
			return fmt.Errorf("%w: %s has version %d, want %d", ErrNoTemplates, t.Name, t.Installed, t.Wanted)
		}
	}
	return nil
}

// TemplateVersion says which version of a template is installed, and which this program has.
type TemplateVersion struct {
	Name      string
	Installed int // 0: none is
	Wanted    int
	Canary    bool // it is of the canary's index: nothing else needs it
}

// Templates returns the versions of all templates.
func (c *Client) Templates(ctx context.Context) (all []TemplateVersion, err error) {
	return c.versions(ctx, func(template) bool { return true })
}

// versions returns the versions of those templates that are asked for.
func (c *Client) versions(ctx context.Context, asked func(template) bool) (all []TemplateVersion, err error) {
	parts, err := templates(c.flavor, DefaultLayout)
	if err != nil {
		return nil, fmt.Errorf("check index templates: %w", err)
	}
	for _, part := range parts {
		if !asked(part) {
			continue
		}
		version, err := c.installed(ctx, part)
		if err != nil {
			return nil, err
		}
		all = append(all, TemplateVersion{part.name, version, part.version, part.canary()})
	}
	return all, nil
}

// Layout returns the layout that the installed templates give to the next index: zero if none is installed.
func (c *Client) Layout(ctx context.Context) (l Layout, err error) {
	var found struct {
		Templates []struct {
			Template struct {
				Template struct {
					Settings struct {
						Index struct {
							Shards   string `json:"number_of_shards"`
							Replicas string `json:"number_of_replicas"`
						}
					}
				}
			} `json:"index_template"`
		} `json:"index_templates"`
	}
	part := template{name: templatePrefix + indexTemplate}
	err = c.call(ctx, part.get("index_templates.index_template.template.settings"), &found)
	if status := (*StatusError)(nil); errors.As(err, &status) && status.Status == http.StatusNotFound {
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("read index template %s: %w", part.name, err)
	}
	for _, one := range found.Templates {
		settings := one.Template.Template.Settings.Index
		l = Layout{Shards: int(number(settings.Shards)), Replicas: int(number(settings.Replicas))}
	}
	return l, nil
}

// installed returns the version of a template on the server, zero without one.
func (c *Client) installed(ctx context.Context, part template) (version int, err error) {
	type versioned struct{ Version int }
	var found struct {
		Index     []map[string]versioned `json:"index_templates"`
		Component []map[string]versioned `json:"component_templates"`
	}
	err = c.call(ctx, part.get("*.*_template.version"), &found)
	if status := (*StatusError)(nil); errors.As(err, &status) && status.Status == http.StatusNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("check index template %s: %w", part.name, err)
	}
	for _, one := range append(found.Index, found.Component...) {
		for _, of := range one {
			version = of.Version
		}
	}
	return version, nil
}

// template is one file of deploy/templates, as it is sent to the server.
type template struct {
	name      string
	component bool
	version   int
	body      []byte
}

// canary reports whether it is the index template of the canary.
func (t template) canary() bool { return t.name == templatePrefix+canaryTemplate }

// put is the request that installs the template.
func (t template) put() request {
	return request{method: http.MethodPut, path: t.path(), body: t.body}
}

// get is the request for a part of what is installed.
func (t template) get(filter string) request {
	return request{method: http.MethodGet, path: t.path(), query: query{"filter_path": filter}}
}

func (t template) path() string {
	if t.component {
		return join("_component_template", t.name)
	}
	return join("_index_template", t.name)
}

// templates reads the files, makes them fit the server, and puts the index
// templates last, since they name the others.
func templates(flavor Flavor, l Layout) ([]template, error) {
	files, err := fs.Glob(deploy.Templates, "templates/*.json")
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	var components, indices []template
	for _, file := range files {
		text, err := fs.ReadFile(deploy.Templates, file)
		if err != nil {
			return nil, fmt.Errorf("read template: %w", err)
		}
		name := strings.TrimSuffix(path.Base(file), ".json")
		var body map[string]any
		if err := json.Unmarshal(text, &body); err != nil {
			return nil, fmt.Errorf("parse template %s: %w", name, err)
		}
		version, ok := body["version"].(float64)
		if !ok {
			return nil, fmt.Errorf("parse template %s: it has no version", name)
		}
		if flavor == OpenSearch {
			forOpenSearch(body)
		}
		part := template{name: templatePrefix + name, component: name != indexTemplate && name != canaryTemplate, version: int(version)}
		if !part.component {
			shards := l.Shards
			if name == canaryTemplate { // a few thousand records a day
				shards = 1
			}
			// The last word: settings here go before those of components.
			body["template"] = map[string]any{"settings": map[string]any{
				"index.number_of_shards": shards, "index.number_of_replicas": l.Replicas,
			}}
		}
		if part.body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode template %s: %w", name, err)
		}
		if part.component {
			components = append(components, part)
		} else {
			indices = append(indices, part)
		}
	}
	return append(components, indices...), nil
}

// forOpenSearch replaces the one mapping type that has another name there. Its
// flat_object knows no parameters (OpenSearch documentation, 'Flat object').
func forOpenSearch(node map[string]any) {
	for key, value := range node {
		child, ok := value.(map[string]any)
		if !ok {
			continue
		}
		if child["type"] == "flattened" {
			node[key] = map[string]any{"type": "flat_object"}
			continue
		}
		forOpenSearch(child)
	}
}
