// Lanes: threads that somebody else owns, lent for one call.

/// Something that runs a body once per lane, in any order, on any threads, and returns when all are done.
///
/// This room starts no threads; a caller that has some lends them. Results never depend on the number of lanes.
public protocol Lanes {
    /// How many lanes a call is divided into.
    var laneCount: Int { get }

    /// Calls `body` with `job` and each of `0 ..< laneCount`, possibly at the same time.
    ///
    /// A function pointer and its argument instead of a closure: lending threads allocates nothing.
    func forEachLane(_ job: UnsafeRawPointer, _ body: @convention(c) (UnsafeRawPointer, Int) -> Void)
}

/// Lane `lane`'s share of `count` items, cut at multiples of `grain`.
func laneRange(_ lane: Int, of count: Int, lanes: Int, grain: Int = 1) -> Range<Int> {
    let share = ((count + lanes - 1) / lanes + grain - 1) / grain * grain
    return min(lane * share, count)..<min((lane + 1) * share, count)
}
