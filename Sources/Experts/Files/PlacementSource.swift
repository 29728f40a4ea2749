// PlacementSource: where a first placement comes from; the value of `--init-expert-location`.
//
// A value is `trivial`, the path of a `.pt` or `.json` file, or JSON itself. A file or JSON holds an object with
// `physical_to_logical_map` [L, P], which wins, or with `logical_count` [L, E] or [W, L, E], for which a plan is made. So
// a recording serves as it is. Other keys are passed over.

/// A placement to be: what a user named, before the model's sizes are known.
public enum PlacementSource: Sendable, Equatable {
    /// Slot i holds expert `i mod E`.
    case trivial
    /// The expert in each slot, `[L, P]`; `source` names it in errors.
    case map([Int32], layers: Int, source: String)
    /// Tokens per expert, to plan for; `source` names it in errors.
    case load(LoadMatrix, source: String)

    /// What `value` names.
    ///
    /// - Parameter value: `trivial`, a path ending in `.pt`, `.json` or `.safetensors`, or an object in JSON.
    /// - Throws: `ExpertFileError`; files from anywhere are safe.
    /// - Returns: a source that is well-formed; whether it fits the model is for `placement` to say.
    public static func read(_ value: String) throws(ExpertFileError) -> PlacementSource {
        let name = value.trimming
        if name == "trivial" { return .trivial }
        if name.hasPrefix("{") { return try PlacementSource(bytes: Array(name.utf8), source: "the JSON given") }
        guard Recording.Format(path: name) != nil else {
            throw .malformed(
                source: value.isEmpty ? "an empty text" : value, found: "neither a file name nor an object",
                expected:
                    "trivial, a file ending in .pt, .json or .safetensors, or {\"physical_to_logical_map\": [[…]]}")
        }
        let bytes: [UInt8]
        do throws(RecordingError) { bytes = try WholeFile.read(name) } catch {
            throw ExpertFileError(error, source: name)
        }
        return try PlacementSource(bytes: bytes, source: name)
    }

    /// What `bytes` hold; `source` names them in errors.
    ///
    /// - Throws: `ExpertFileError`.
    public init(bytes: [UInt8], source: String) throws(ExpertFileError) {
        if let map = try LoadSeries.value(in: bytes, source: source, withNotes: true)?[Self.mapKey] {
            let (shape, numbers) = try Self.table(map, source: source)
            guard shape.count == 2, shape[0] > 0, shape[1] > 0 else {
                throw .malformed(source: source, found: "a map of shape \(shape)", expected: "[layers, slots]")
            }
            self = .map(numbers, layers: shape[0], source: source)
            return
        }
        let series: LoadSeries
        do throws(ExpertFileError) { series = try LoadSeries(bytes: bytes, source: source) } catch {
            // Of a file that is nothing at all, say that it might have been a map.
            guard case .malformed(let source, let found, let expected) = error else { throw error }
            throw .malformed(source: source, found: found, expected: "the key \(Self.mapKey), or \(expected)")
        }
        do throws(PlanError) {
            self = .load(try series.total(), source: source)
        } catch {
            throw .load(source: source, error)
        }
    }

    /// The key of a map.
    static let mapKey = "physical_to_logical_map"

    private static func table(_ map: ArchiveValue, source: String) throws(ExpertFileError) -> ([Int], [Int32]) {
        do throws(RecordingError) {
            return try NumberTable.read32(map, mapKey)
        } catch {
            throw ExpertFileError(error, source: source)
        }
    }

    /// The placement for a model of a certain size.
    ///
    /// - Parameters:
    ///   - layers: L.
    ///   - logicalExperts: E.
    ///   - slots: P that the map must have; nil takes the map's own, and E for `trivial` and plans.
    ///   - ranks: G.
    ///   - nodes: server nodes, for plans.
    ///   - groups: expert groups, for plans.
    ///   - epoch: which placement of this run.
    /// - Throws: `ExpertFileError` naming layer and expert, or the sizes that do not fit.
    /// - Returns: the map as a placement, or a plan for the counts.
    public func placement(
        layers: Int, logicalExperts: Int, slots: Int? = nil, ranks: Int = 1, nodes: Int = 1, groups: Int = 1,
        epoch: Int = 0
    ) throws(ExpertFileError) -> Placement {
        switch self {
        case .trivial:
            do throws(PlacementError) {
                return try Placement.trivial(
                    layers: layers, logicalExperts: logicalExperts,
                    redundant: (slots ?? logicalExperts) - logicalExperts,
                    ranks: ranks)
            } catch {
                throw .placement(source: "trivial", error)
            }
        case .map(let map, let found, let source):
            guard found == layers else {
                throw .malformed(
                    source: source, found: "a map of \(found) layers", expected: "the model's \(layers) layers")
            }
            let width = map.count / layers
            guard width == slots ?? width else {
                throw .slots(source: source, found: width, expected: slots ?? width, logicalExperts: logicalExperts)
            }
            do throws(PlacementError) {
                return try Placement(
                    physicalToLogical: map, layers: layers, logicalExperts: logicalExperts, ranks: ranks, epoch: epoch)
            } catch {
                throw .placement(source: source, error)
            }
        case .load(let load, let source):
            guard load.layers == layers, load.experts == logicalExperts else {
                throw .malformed(
                    source: source, found: "counts of \(load.layers) layers × \(load.experts) experts",
                    expected: "the model's \(layers) × \(logicalExperts)")
            }
            do throws(PlanError) {
                let shape = PlanShape(slots: slots ?? logicalExperts, ranks: ranks, nodes: nodes, groups: groups)
                return try PlacementPlan.balanced(load: load, shape: shape, epoch: epoch).placement
            } catch {
                throw .load(source: source, error)
            }
        }
    }
}

extension String {
    /// Without blanks and line ends around it.
    fileprivate var trimming: String {
        let isBlank: (Character) -> Bool = { $0.isWhitespace }
        guard let first = firstIndex(where: { !isBlank($0) }), let last = lastIndex(where: { !isBlank($0) }) else {
            return ""
        }
        return String(self[first...last])
    }
}
