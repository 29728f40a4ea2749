// Recordings on the GPUs that a flag names.

import Experts

extension Recording {
    /// `spread(over:)` with errors that name the flag.
    func spread(gpus: Int) throws -> Recording {
        do {
            return try spread(over: gpus)
        } catch PlanError.slotsNotDivisible(let slots, _, _) {
            let fits = (1...slots).filter { slots % $0 == 0 }
            let near = fits.filter { $0 < gpus }.suffix(2) + fits.filter { $0 > gpus }.prefix(1)
            throw ExpertsFailure(
                "--gpus \(gpus): \(slots) slots do not divide among them; "
                    + "try \(near.map(String.init).joined(separator: ", "))")
        } catch {
            throw ExpertsFailure("--gpus \(gpus): \(error)")
        }
    }
}
