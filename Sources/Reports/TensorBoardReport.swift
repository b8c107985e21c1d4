import Diagnostics
import Essentials
import OrderedJSON
import Training

/// A TensorBoard event file with the tags of transformers' `TensorBoardCallback`: `train/loss`, `train/grad_norm`,
/// `eval/loss` and so on.
package final class TensorBoardReport: RunReport {
  private let folder: URL
  private let now: () -> Double
  private var file: GrowingFile?
  package private(set) var failure: SwiftletError?

  /// - Parameters:
  ///   - folder: the folder for the file: TensorBoard's `--logdir` or a folder in it.
  ///   - now: returns the seconds since 1970.
  init(folder: URL, now: @escaping () -> Double = { Date().timeIntervalSince1970 }) {
    self.folder = folder
    self.now = now
  }

  /// The folder for event files: `path`, else `$TENSORBOARD_LOGGING_DIR`, else a folder such as
  /// `runs/Nov21_14-05-09_host` in the output folder.
  static func folder(_ path: String?, output: URL) -> URL {
    if let path = path ?? ProcessInfo.processInfo.environment["TENSORBOARD_LOGGING_DIR"] {
      return URL(fileURLWithPath: path.expandingTilde)
    }
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    let day = String(cFormat: "%02d_%02d-%02d-%02d", parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec)
    let name = "\(months[Int(parts.tm_mon) % 12])\(day)_\(ProcessInfo.processInfo.hostName)"
    return output.appendingPathComponent("runs").appendingPathComponent(name)
  }

  package func trainingBegan(_ state: TrainerState) {
    let process = ProcessInfo.processInfo
    let name = "events.out.tfevents.\(Int(clamping: now())).\(process.hostName).\(process.processIdentifier).0"
    let url = folder.appendingPathComponent(name)
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try Data().write(to: url)
    } catch {
      failure = SwiftletError.training(
        "\(url.path) cannot be written; choose another `tensorBoardFolder`, or leave out this report")
      return
    }
    file = GrowingFile(at: url)
    append(.fileVersion, step: 0)
    if state.globalStep > 0 { append(.sessionStart, step: state.globalStep + 1) }
  }

  package func logged(_ log: TrainingLog, _ state: TrainerState) { append(log.object, step: log.step) }

  package func evaluated(_ log: EvaluationLog, _ state: TrainerState) { append(log.object, step: log.step) }

  private func append(_ entry: JSONObject, step: Int) {
    let scalars = entry.members.compactMap { name, value -> (tag: String, value: Float)? in
      guard name != "step", let number = value.double else { return nil }
      return (name.hasPrefix("eval_") ? "eval/\(name.dropFirst(5))" : "train/\(name)", Float(number))
    }
    append(.scalars(scalars), step: step)
  }

  private func append(_ content: EventRecord.Content, step: Int) {
    file?.append(EventRecord(wallTime: now(), step: step, content: content).bytes)
    failure = failure ?? file?.failure
  }
}
