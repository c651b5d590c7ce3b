// Package device is the life of a network device under a link: what it is like now, its
// going and coming back, and what its filter lets in. It knows nothing of how frames are
// carried; a link over an AF_PACKET ring uses it, and one over AF_XDP can.
//
// # What a link does
//
// A link has a [Device], and is its [Holder]: it is told to take hold of a device and
// what to have the device let in, and says whether it still holds one. [Device.Open] looks
// for the device, the link opens what it needs for one like that, and [Device.Start] has
// it take hold.
//
// # What a device does
//
// One goroutine follows rtnetlink(7) link events in the device's network namespace. An
// event says only that there is something to look at: what the device is like, and
// whether it is held, is then asked of the kernel and of the holder, so that events lost
// or out of order do no harm.
//
// When the device is deleted, or moved to another namespace, it is [link.Gone]. As soon
// as a device of the name that was opened appears in the namespace, the holder takes hold
// of that one. Groups and modes are counted here, and asked of each device anew.
//
// # Locking
//
// A Device uses its link's lock, which so guards what the link has bound to the device as
// well. A Holder's methods are called with it held; so are those of Device that end in
// Locked.
package device
