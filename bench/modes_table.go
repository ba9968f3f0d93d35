package bench

// trait is what the benchmark has to know of a mode. A new mode of the engine is one more line in
// traits, and one in the help of the command.
type trait struct {
	mode     Mode
	engine   bool // the engine's own, not a baseline of this package
	compared bool // says something beside the others: the bare command shows it
	unsafe   bool // asks for Config.Unsafe
	// logsImages: pages go to the log, too, which checkpoints must then keep short.
	logsImages bool
	bound      string
	// gives is what pages are protected by; loses what a power cut can do to pages all the same. Both
	// go on from "it".
	gives, loses string
}

const losesNothing = "loses nothing that was acknowledged"

func traits() []trait {
	return []trait{
		{
			mode: Doublewrite, engine: true, compared: true, bound: boundDoublewrite,
			gives: "repairs a torn page from its copy", loses: losesNothing,
		}, {
			mode: Atomic, engine: true, compared: true, bound: boundFlushed,
			gives: "has the drive write pages whole", loses: losesNothing,
		}, {
			mode: Auto, engine: true, bound: boundDoublewrite,
			gives: "has pages written whole by the drive, or repaired from their copies", loses: losesNothing,
		}, {
			mode: FullPage, engine: true, compared: true, logsImages: true, bound: boundFlushed,
			gives: "repairs a torn page from its image in the log", loses: losesNothing,
		}, {
			mode: Shadow, engine: true, logsImages: true, bound: boundDoublewrite,
			gives: "repairs a torn page from its copy, and compares it with its image in the log", loses: losesNothing,
		}, {
			mode: Detect, engine: true, compared: true, bound: boundFlushed,
			gives: "finds torn pages", loses: "can tear any page that is being written: it is found, and only a backup brings it back",
		}, {
			mode: None, engine: true, compared: true, unsafe: true, bound: boundFlushed,
			gives: "protects nothing", loses: "can tear any page that is being written, and no read notices",
		}, {
			mode: Naive, compared: true, bound: boundDoublewrite,
			gives: "makes the copies, but nothing recovers from them", loses: "can tear pages that nothing repairs",
		}, {
			mode: NaiveBatch, compared: true, bound: boundDoublewrite,
			gives: "makes the copies, but nothing recovers from them", loses: "can tear pages that nothing repairs",
		},
	}
}

// Modes lists all modes, the engine's own first.
func Modes() []Mode { return modesWith(func(trait) bool { return true }) }

// Compared are the modes that say something beside each other; those that do not exist on a host
// (Atomic, where it is not proven) are left out there.
func Compared() []Mode { return modesWith(func(t trait) bool { return t.compared }) }

func modesWith(f func(trait) bool) (out []Mode) {
	for _, t := range traits() {
		if f(t) {
			out = append(out, t.mode)
		}
	}
	return out
}

// trait of a mode; ok is false for a name that is none.
func (m Mode) trait() (t trait, ok bool) {
	for _, t := range traits() {
		if t.mode == m {
			return t, true
		}
	}
	return trait{}, false
}

// engine reports whether the mode is the engine's and not a baseline of this package.
func (m Mode) engine() bool {
	t, _ := m.trait()
	return t.engine
}
