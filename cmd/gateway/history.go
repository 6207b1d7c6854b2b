package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/hearthgate/hearthgate/internal/when"
	"github.com/spf13/cobra"
)

// leastColumns of a chart have room for both ends of its time.
const leastColumns = 40

func historyCommand() *cobra.Command {
	c := &cobra.Command{Use: "history DEVICE NAME", Short: "The values of one name (hearthgate device show lists them)", Args: cobra.ExactArgs(2),
		Long: `The values of one name: a chart on a terminal, of the last day if nothing else is
said, and anywhere else a line a value.

With --width the answer is as coarse as a chart of so many pixels needs: values,
or rows of 5 minutes, an hour or a day, each with how many values it has, their
least, mean and greatest, or how far a counter rose, or how long something was on.
A terminal shows a chart of that size, two pixels to a column.`,
		Example: `  hearthgate history garden-sensor temperature
  hearthgate history garden-sensor temperature --from 2026-11-20 --to 2026-11-21
  hearthgate history garden-sensor temperature --from 30d --width 200 --csv
  hearthgate history living-room-thermostat thermostat/target --limit 100`}
	span := spanFlags(c)
	limit := c.Flags().Int("limit", 0, "a line a value, at most so many, the oldest first (default 10000)")
	width := c.Flags().Int("width", 0, "pixels of a chart that the answer is for")
	asCSV := c.Flags().Bool("csv", false, "CSV with the times in seconds since 1970")
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		if *asCSV && a.json {
			return usageError{errors.New("either --csv or --json")}
		}
		q, err := span()
		if err != nil {
			return err
		}
		q.Set("name", args[1])
		if *limit > 0 {
			q.Set("limit", fmt.Sprint(*limit))
		}
		wide, terminal := columns(a.out)
		drawn := terminal && !*asCSV && !a.json && *limit == 0
		switch {
		case drawn && *width > 0: // no wider than the terminal, and not too narrow for the times
			wide = min(wide, max(*width/2, leastColumns))
		case drawn:
			*width = 2 * wide
		}
		if *width > 0 {
			q.Set("width", fmt.Sprint(*width))
		}
		path := devicePath(args[0], "/history?"+q.Encode())
		if a.json {
			return a.pass(c, path)
		}
		var out series
		if err := a.call(c.Context(), "GET", path, nil, &out); err != nil {
			return err
		}
		switch {
		case *asCSV:
			return out.writeCSV(a.out)
		case len(out.Samples)+len(out.Rows) == 0:
			fmt.Fprintln(c.ErrOrStderr(), "Nothing in that span.")
		case drawn:
			out.draw(a.out, wide, here)
		default:
			out.list(a.out)
		}
		return nil
	}
	return c
}

// pass hands the API's answer on as it is.
func (a *admin) pass(c *cobra.Command, path string) error {
	resp, err := a.do(c.Context(), "GET", path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(a.out, resp.Body)
	return err
}

// series is what the API answers: samples, or rows.
type series struct {
	Device, Name, Unit, Level string

	Samples []struct {
		T json.Number     `json:"t"`
		V json.RawMessage `json:"v"`
	} `json:"samples"`
	Rows []seriesRow `json:"rows"`
}

// seriesRow has min, mean and max of numbers, increase and resets of a counter,
// or on of a bool.
type seriesRow struct {
	T, End         json.Number
	Count          int
	Last           json.RawMessage
	Min, Mean, Max json.Number
	Increase, On   json.Number
	Resets         *int
}

func (r *seriesRow) resets() string {
	if r.Resets == nil {
		return ""
	}
	return strconv.Itoa(*r.Resets)
}

// writeCSV leaves empty what the kind of value does not have.
func (s *series) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if s.Rows == nil {
		_ = c.Write([]string{"time", "value"})
		for _, v := range s.Samples {
			_ = c.Write([]string{v.T.String(), plainValue(v.V)})
		}
	} else {
		_ = c.Write([]string{"start", "end", "count", "min", "mean", "max", "last", "increase", "resets", "on"})
		for i := range s.Rows {
			r := &s.Rows[i]
			_ = c.Write([]string{
				r.T.String(), r.End.String(), strconv.Itoa(r.Count), r.Min.String(), r.Mean.String(), r.Max.String(),
				plainValue(r.Last), r.Increase.String(), r.resets(), r.On.String(),
			})
		}
	}
	c.Flush()
	return c.Error()
}

// plainValue is a value without the quotes of a text.
func plainValue(v json.RawMessage) string {
	var words string
	if len(v) > 0 && v[0] == '"' && json.Unmarshal(v, &words) == nil {
		return words
	}
	return string(v)
}

// list writes a line a value or row.
func (s *series) list(w io.Writer) {
	for _, v := range s.Samples {
		fmt.Fprintf(w, "%s  %s\n", moment(v.T).Format("2006-01-02 15:04:05.000"), v.V)
	}
	if len(s.Rows) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range s.Rows {
		r := &s.Rows[i]
		at := moment(r.T).Format("2006-01-02 15:04")
		switch {
		case r.Mean != "":
			header(t, i, "START\tVALUES\tMIN\tMEAN\tMAX\tLAST")
			mean, _ := r.Mean.Float64()
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", at, r.Count, r.Min, shortMean(mean), r.Max, r.Last)
		case r.Increase != "":
			header(t, i, "START\tVALUES\tINCREASE\tRESETS\tLAST")
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", at, r.Count, r.Increase, r.resets(), r.Last)
		case r.On != "":
			header(t, i, "START\tVALUES\tON FOR\tLAST")
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", at, r.Count, secondsText(r.On), r.Last)
		default:
			header(t, i, "START\tVALUES\tLAST")
			fmt.Fprintf(t, "%s\t%d\t%s\n", at, r.Count, r.Last)
		}
	}
	_ = t.Flush()
}

func header(w io.Writer, row int, names string) {
	if row == 0 {
		fmt.Fprintln(w, names)
	}
}

// shortMean is a mean with as many digits as mean something.
func shortMean(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }

func secondsText(seconds json.Number) string {
	f, _ := seconds.Float64()
	return time.Duration(f * float64(time.Second)).Round(time.Second).String()
}

// moment is a time of the API, in seconds since 1970.
func moment(t json.Number) time.Time {
	f, _ := t.Float64()
	return time.UnixMicro(int64(f * 1e6)).Round(time.Millisecond)
}

// here is the zone of who types. Tests type in another.
var here = time.Local

// spanFlags are --from and --to; query gives them to the API. Days are those of who
// types, so they are read here and not where the gateway is.
func spanFlags(c *cobra.Command) (query func() (url.Values, error)) {
	c.Flags().String("from", "", `beginning: 2026-01-31, "2026-01-31 14:00", 2026-01-31T12:00:00Z, or how long ago: 24h, 7d`)
	c.Flags().String("to", "", "end, not included, in the same forms")
	return func() (url.Values, error) {
		q, now := url.Values{}, time.Now()
		for _, name := range []string{"from", "to"} {
			s, _ := c.Flags().GetString(name)
			if s == "" {
				continue
			}
			at, err := when.Moment(s, now, here)
			if err != nil {
				return nil, usageError{fmt.Errorf("--%s: %w", name, err)}
			}
			q.Set(name, at.Format(time.RFC3339Nano))
		}
		return q, nil
	}
}
