import Diagnostics
import Foundation
import Training

/// A file that follows a run. A run goes on without its report: what is lost is told at the end.
package protocol RunReport: TrainerCallback {
  /// Why the report is not whole.
  var failure: SwiftletError? { get }
}

/// A file that grows, and that readers may follow: every append reaches the system at once.
struct GrowingFile {
  private let url: URL
  private var handle: FileHandle?
  /// The first append that failed.
  private(set) var failure: SwiftletError?

  /// Appends to the file at `url`, which exists.
  init(at url: URL) {
    self.url = url
    handle = FileHandle(forWritingAtPath: url.path)
    if handle == nil { fail("it cannot be opened") }
  }

  mutating func append(_ bytes: [UInt8]) {
    guard failure == nil, let handle else { return }
    do {
      try handle.seekToEnd()
      try handle.write(contentsOf: Data(bytes))
    } catch {
      fail(error.localizedDescription)
    }
  }

  private mutating func fail(_ reason: String) {
    failure = SwiftletError.training(
      "\(url.path) is not whole (\(reason)); the run's figures are in trainer_state.json all the same")
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
