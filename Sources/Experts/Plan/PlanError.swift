// PlanError: why a plan cannot be made, and what could.

/// A request that no plan can satisfy.
public enum PlanError: Error, Equatable, CustomStringConvertible {
    /// A load has no layers or no experts.
    case emptyLoad(layers: Int, experts: Int)
    /// A flat load is not `[layers, experts]`.
    case loadShape(count: Int, layers: Int, experts: Int)
    /// A row of a nested load has another length than the first.
    case raggedLoad(layer: Int, experts: Int, expected: Int)
    /// A load is below zero.
    case negativeLoad(layer: Int, expert: Int)
    /// A load is NaN, infinite or beyond float32.
    case loadNotFinite(layer: Int, expert: Int)
    /// A size that must be at least 1 is not.
    case notPositive(size: String, value: Int)
    /// The plan would have more slots than 32-bit indices reach.
    case tooManySlots(slots: Int, layers: Int)
    /// Every expert needs a slot.
    case tooFewSlots(slots: Int, experts: Int, ranks: Int)
    /// Physical slots must divide evenly among ranks.
    case slotsNotDivisible(slots: Int, ranks: Int, experts: Int)
    /// Ranks must divide evenly among nodes.
    case ranksNotDivisible(ranks: Int, nodes: Int)
    /// Experts must divide evenly into groups.
    case expertsNotDivisible(experts: Int, groups: Int)
    /// The present placement is of another shape than the load or the request.
    case placementMismatch(fact: String, placement: Int, request: Int)

    /// The fact in one line, and what would be possible.
    public var description: String { message() }

    /// The description, for callers that name the machine's parts in their own way.
    ///
    /// - Parameter name: what to call ranks, such as `GPUs`.
    /// - Returns: the fact in one line, and what would be possible.
    public func message(ranks name: String = "ranks") -> String {
        switch self {
        case .emptyLoad(let layers, let experts):
            "a load of \(layers) layers × \(experts) experts is empty: record at least one layer of one expert"
        case .loadShape(let count, let layers, let experts):
            "\(count) counts are not \(layers) layers × \(experts) experts"
        case .raggedLoad(let layer, let experts, let expected):
            "layer \(layer) counts \(experts) experts, layer 0 counts \(expected): all layers need the same number"
        case .negativeLoad(let layer, let expert):
            "layer \(layer), expert \(expert): the count is negative; counts are 0 or more"
        case .loadNotFinite(let layer, let expert):
            "layer \(layer), expert \(expert): the count is not a finite 32-bit float"
        case .notPositive(let size, let value):
            "\(value) \(size == "ranks" ? name : size): at least 1 is needed"
        case .tooManySlots(let slots, let layers):
            "\(layers) layers × \(slots) slots: slots are numbered with 31 bits in all"
        case .tooFewSlots(let slots, let experts, let ranks):
            "\(slots) slots cannot hold \(experts) experts: the fewest on \(ranks) \(name) are "
                + "\(PlanShape.fewestSlots(experts: experts, ranks: ranks))"
        case .slotsNotDivisible(let slots, let ranks, let experts):
            "\(slots) slots do not divide among \(ranks) \(name): try "
                + Self.neighbours(of: slots, ranks: ranks, experts: experts)
        case .ranksNotDivisible(let ranks, let nodes):
            "\(ranks) \(name) do not divide among \(nodes) nodes: try "
                + "\(Self.divisors(of: ranks, near: nodes)) nodes, or "
                + "\(ranks < nodes ? "\(nodes)" : "\(ranks / nodes * nodes) or \((ranks / nodes + 1) * nodes)") \(name)"
        case .expertsNotDivisible(let experts, let groups):
            "\(experts) experts do not divide into \(groups) groups: try \(Self.divisors(of: experts, near: groups))"
        case .placementMismatch(let fact, let placement, let request):
            "the present placement has \(placement) \(fact), the load \(request): it is of another model; "
                + "give one of \(request) \(fact)"
        }
    }

    /// The divisors of `value` next to `wanted`, which is none: "6 or 12".
    private static func divisors(of value: Int, near wanted: Int) -> String {
        var (below, above) = (1, value)
        var divisor = 1
        while divisor <= value / divisor {
            if value % divisor == 0 {
                for its in [divisor, value / divisor] {
                    if its <= wanted { below = max(below, its) } else { above = min(above, its) }
                }
            }
            divisor += 1
        }
        return wanted > value ? "\(below)" : "\(below) or \(above)"
    }

    /// The numbers of slots next to an impossible one: "280 or 288".
    private static func neighbours(of slots: Int, ranks: Int, experts: Int) -> String {
        let below = slots / ranks * ranks
        let above = PlanShape.fewestSlots(experts: max(slots, experts), ranks: ranks)
        return below >= experts ? "\(below) or \(above)" : "\(above)"
    }
}
