// Package inspect looks at an engine directory from outside: what is in it, whether it is sound,
// and, when too few copies of super are left, what they must have said.
//
// Look, Verify and the dumps take no lock, change nothing and decide nothing: they work on the
// directory of a running engine and on a broken one. What they read of a running one is a moment's
// picture of something that moves, so whatever looks wrong is read again before it is reported.
// RebuildSuper is the exception: it locks every file and writes super, and nothing else.
//
//	Look     super, log segments, doublewrite regions, data file headers: one health line
//	Verify   all of that judged as an open would (I6, I10), and every page of every data file
//	DumpWAL  records        DumpDWB  regions, headers, slots
package inspect
