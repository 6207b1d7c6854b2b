package command

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// GroupRequest asks all members of a group for the same. Of Set, Value and Text
// the first that is there counts.
type GroupRequest struct {
	ID    string // the asker's own, the same in each member's result
	Group string
	Set   []Setting      // names are attributes of the members: "on", "brightness"
	Value protocol.Value // for the first attribute of a member that takes it
	Text  string         // the same as text (a plain MQTT payload)
	TTL   time.Duration
	Asker string
}

// SceneRequest asks for what a scene says.
type SceneRequest struct {
	ID    string
	Scene string
	TTL   time.Duration
	Asker string
}

// SubmitGroup submits one command for each member, all at once, and says how
// many outcomes a gets: one for each member, one if there is no such group.
func (s *Service) SubmitGroup(r GroupRequest, a Asker) (outcomes int) {
	common := Request{ID: r.ID, Via: "group/" + r.Group, TTL: r.TTL, Asker: r.Asker}
	members, ok := s.registry.Members(r.Group)
	if !ok || len(members) == 0 {
		no := refuse(Unsupported, "no group %q", r.Group)
		if ok {
			no = refuse(Unsupported, "group %q has no members now", r.Group)
		}
		s.refuse(common, a, no)
		return 1
	}
	for _, m := range members {
		one := common
		one.Device = m.Device
		set, no := s.forMember(m, r)
		one.Set = set
		if no != nil {
			s.refuse(one, a, no)
		} else {
			s.Submit(one, a)
		}
	}
	return len(members)
}

// SubmitScene submits one command for each device of a scene, all at once, and
// says how many outcomes a gets.
func (s *Service) SubmitScene(r SceneRequest, a Asker) (outcomes int) {
	common := Request{ID: r.ID, Via: "scene/" + r.Scene, TTL: r.TTL, Asker: r.Asker}
	scene, ok := s.registry.Scene(r.Scene)
	if !ok {
		s.refuse(common, a, refuse(Unsupported, "no scene %q", r.Scene))
		return 1
	}
	sets := map[string][]Setting{}
	var devices []string
	for _, v := range scene.Set {
		if sets[v.Device] == nil {
			devices = append(devices, v.Device)
		}
		sets[v.Device] = append(sets[v.Device], Setting{Name: v.Name, Value: v.Value})
	}
	for _, d := range devices {
		one := common
		one.Device, one.Set = d, sets[d]
		s.Submit(one, a)
	}
	return len(devices)
}

// refuse gives an outcome that is known before there is a command.
func (s *Service) refuse(r Request, a Asker, no *refusal) {
	s.mu.Lock()
	defer s.unlock()
	s.giveRefusal(&command{req: r, asker: a, born: time.Now()}, no)
}

// forMember is what the request means for one member.
func (s *Service) forMember(m registry.Member, r GroupRequest) ([]Setting, *refusal) {
	if len(r.Set) > 0 {
		set := slices.Clone(r.Set)
		for i := range set {
			set[i].Name = m.Name + "/" + set[i].Name
		}
		return set, nil
	}
	wish := Setting{Name: m.Name, Value: r.Value, Text: r.Text}
	d := s.registry.Description(m.Device)
	if d == nil {
		return []Setting{wish}, noDevice(m.Device)
	}
	points := slices.DeleteFunc(d.PointsOf(m.Name), func(p *protocol.Point) bool { return !p.Settable })
	var names []string
	for _, p := range points {
		if _, err := resolve(p, wish); err == nil || len(points) == 1 {
			wish.Name = p.Name
			return []Setting{wish}, nil
		}
		names = append(names, p.Name)
	}
	if len(points) == 0 {
		return []Setting{wish}, refuse(Unsupported, "%s has no %s that can be set", m.Device, m.Name)
	}
	return []Setting{wish}, refuse(Invalid, "none of %s takes %s", strings.Join(names, ", "), wish.said())
}

// said is the value that a setting asks for, in words.
func (s Setting) said() string {
	if s.Value.Kind() != protocol.None {
		return s.Value.String()
	}
	const enough = 64
	if len(s.Text) > enough {
		return fmt.Sprintf("%q…", s.Text[:enough])
	}
	return fmt.Sprintf("%q", s.Text)
}
