package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/web"
)

// admin speaks the API to the running gateway, or, where none runs, to the data
// directory itself through the same handlers.
type admin struct {
	data  string
	out   io.Writer
	json  bool
	quiet bool
}

// call sends in as JSON (nil = no body) and reads the answer into out.
func (a *admin) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := a.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("answer of the gateway: %w", err)
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = body
		return nil
	}
	return json.Unmarshal(body, out)
}

// do is call for answers that are streamed. A status of 400 or more is an error.
func (a *admin) do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	request := func() (*http.Request, error) {
		return http.NewRequestWithContext(ctx, method, "http://hearthgate"+path, bytes.NewReader(body))
	}
	req, err := request()
	if err != nil {
		return nil, err
	}
	resp, err := adminClient(a.data).Do(req)
	if errors.Is(err, errNotRunning) {
		if req, err = request(); err == nil {
			resp, err = offline(a.data, req)
		}
	}
	if err != nil {
		return nil, clean(err)
	}
	if resp.StatusCode >= 400 {
		defer func() { _ = resp.Body.Close() }()
		return nil, answerError(resp)
	}
	return resp, nil
}

// clean drops what net/http puts around our own message.
func clean(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func answerError(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var e struct{ Error, Outcome, Message string }
	switch {
	case json.Unmarshal(body, &e) != nil:
		return fmt.Errorf("the gateway answered %s", resp.Status)
	case e.Error != "":
		return errors.New(e.Error)
	}
	return fmt.Errorf("%s: %s", e.Outcome, e.Message)
}

// offline answers a request from the data directory while no gateway runs, so
// that a device can be added before the first start of the service. The answer
// is read as it is made; its end is that of the store, closed and in order.
func offline(data string, r *http.Request) (*http.Response, error) {
	if err := dataThere(data); err != nil {
		return nil, fmt.Errorf("%w, and there is no data of one in %s (start it with hearthgate serve, or give --data)", errNotRunning, data)
	}
	body, to := io.Pipe()
	w := &answer{to: to, header: http.Header{}, begun: make(chan int, 1)}
	ended := make(chan error, 1)
	go func() {
		err := offlineStore(data, func(s *store.Store) (err error) {
			reg, err := registry.Open(s, protocol.Limits{})
			if err != nil {
				return err
			}
			s.Describe(counters(reg))
			defer cutShort(&err)
			web.New(web.Options{Store: s, Registry: reg, Offline: true}).Admin().ServeHTTP(w, r)
			w.WriteHeader(http.StatusOK)
			return nil
		})
		if !w.wrote {
			w.begun <- 0
		}
		ended <- err
		_ = to.CloseWithError(err)
	}()
	status := <-w.begun
	if status == 0 {
		return nil, <-ended
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: w.header, Body: offlineBody{body, ended}, Request: r}, nil
}

// cutShort makes an error of what ends a handler in the middle of its answer.
func cutShort(err *error) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		*err = errors.New("the answer ended early; hearthgate check looks for damage")
	default:
		panic(p)
	}
}

// answer is an http.ResponseWriter whose body is read at the other end of a pipe.
type answer struct {
	to     *io.PipeWriter
	header http.Header
	begun  chan int // its status, once; 0 = there is none
	wrote  bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.wrote {
		a.wrote = true
		a.begun <- status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.to.Write(b)
}

// offlineBody is closed when the store is.
type offlineBody struct {
	*io.PipeReader
	ended chan error
}

func (b offlineBody) Close() error {
	_ = b.PipeReader.Close()
	return <-b.ended
}

// show prints v as JSON, or lets table print it for people.
func (a *admin) show(v any, table func(w io.Writer)) error {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	if !a.quiet {
		table(a.out)
	}
	return nil
}
