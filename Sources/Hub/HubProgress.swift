import Synchronization

/// How far a download has come.
public struct HubProgress: Sendable, Hashable {
  /// The file this report is about.
  public let file: String
  /// Bytes of this file on disk.
  public let received: Int
  /// The size of this file in bytes, if the service reports it.
  public let size: Int?
  /// Bytes of all files on disk.
  public let totalReceived: Int
  /// The size of all files in bytes, as far as the service reports it.
  public let totalSize: Int
}

/// Sums up the progress of parallel downloads and reports it, one report at a time.
final class ProgressTally: Sendable {
  private struct State {
    var received: [String: Int] = [:]
    var reported: [String: Int] = [:]
    var total = 0
  }

  private let report: @Sendable (HubProgress) -> Void
  private let totalSize: Int
  private let state = Mutex(State())
  /// Bytes between two reports of the same file.
  private static let step = 1 << 20

  init(totalSize: Int, report: @escaping @Sendable (HubProgress) -> Void) {
    self.totalSize = totalSize
    self.report = report
  }

  func advance(_ file: RemoteFile, to bytes: Int) {
    state.withLock { state in
      state.total += bytes - (state.received.updateValue(bytes, forKey: file.path) ?? 0)
      let last = state.reported[file.path]
      guard last == nil || bytes == file.size || abs(bytes - (last ?? 0)) >= Self.step else { return }
      state.reported[file.path] = bytes
      report(
        HubProgress(
          file: file.path, received: bytes, size: file.size, totalReceived: state.total, totalSize: totalSize))
    }
  }
}
