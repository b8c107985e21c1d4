import Diagnostics
import Essentials
import Training

/// A callback that writes a file during a run. If writing fails, the run continues, and the failure is reported at the
/// end.
package protocol RunReport: TrainerCallback {
  /// Why the report is incomplete; `nil` if it is complete.
  var failure: SwiftletError? { get }
}

/// A file that is appended to while others may read it: each append is written immediately.
struct GrowingFile {
  private let url: URL
  private var handle: OpenFile?
  /// The first error.
  private(set) var failure: SwiftletError?

  /// Opens an existing file for appending.
  init(at url: URL) {
    self.url = url
    handle = try? OpenFile(url.path, O_WRONLY)
    if handle == nil { fail("it cannot be opened") }
  }

  mutating func append(_ bytes: [UInt8]) {
    guard failure == nil, let handle else { return }
    do {
      try handle.seekToEnd()
      try handle.write(bytes)
    } catch {
      fail(error.reason)
    }
  }

  private mutating func fail(_ reason: String) {
    failure = SwiftletError.training(
      "\(url.path) is incomplete: \(reason); trainer_state.json has all logs")
  }
}

extension ReportConfiguration {
  /// The reports to pass to a trainer as callbacks.
  package func reports(output: URL) -> [any RunReport] {
    destinations.map { destination in
      switch destination {
      case .tensorboard: TensorBoardReport(folder: TensorBoardReport.folder(tensorBoardFolder, output: output))
      case .jsonl: JSONLinesReport(to: output.appendingPathComponent("log.jsonl"))
      }
    }
  }
}
