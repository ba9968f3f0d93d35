// Package certify gathers the evidence that one stack keeps what an engine on it acknowledges, as a
// profile to be kept with the deployment, and says later what has changed since.
//
//	Run:     look at the stack ─▶ control ─▶ explore ─▶ torture ─▶ limits ─▶ Profile (verdict)
//	Compare: Profile, the same facts now ─▶ changes, each with a severity
//
// Control shows that the explorer can find what it looks for: broken variants of the protocol have
// to be convicted. Explore tries simulated power cuts on the engine; torture kills it for real, on
// these very directories, slowed down, short of memory and on a full disk where that can be had;
// limits times how bytes become durable here. The verdict is one pure function of that (Judge), and
// what stood in the way of more is named as a reservation: a profile never claims what was skipped.
//
// No certificate says that the hardware keeps its word at a power cut: that takes pulling the plug.
//
// docs/certify.md has the profile's schema.
package certify
