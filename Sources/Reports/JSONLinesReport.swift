import Diagnostics
import Checkpoints
import Essentials
import OrderedJSON
import Training

/// `log.jsonl`: the entries of `log_history` in `trainer_state.json`, one per line, each written as soon as it is
/// logged.
package final class JSONLinesReport: RunReport {
  private let url: URL
  private var file: GrowingFile?
  package private(set) var failure: SwiftletError?

  init(to url: URL) { self.url = url }

  /// Writes the entries up to the checkpoint that the run resumes from, and drops any later ones.
  package func trainingBegan(_ state: TrainerState) {
    do {
      try AtomicFile.write(state.logHistory.map(Self.line).joined(), to: url)
      file = GrowingFile(at: url)
    } catch {
      failure = SwiftletError.training("\(error)")
    }
  }

  package func logged(_ log: TrainingLog, _ state: TrainerState) { append(log.object) }

  package func evaluated(_ log: EvaluationLog, _ state: TrainerState) { append(log.object) }

  private func append(_ entry: JSONObject) {
    file?.append(Array(Self.line(entry).utf8))
    failure = failure ?? file?.failure
  }

  private static func line(_ entry: JSONObject) -> String { JSONValue.object(entry).text(.compact) + "\n" }
}
