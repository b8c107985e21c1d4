/// How far a download has come.
public struct HubProgress: Sendable, Hashable {
  /// The file that has advanced.
  public let file: String
  /// Bytes of it that are there.
  public let received: Int
  /// Bytes it will have, where the service tells.
  public let size: Int?
  /// Bytes of all files that are there.
  public let totalReceived: Int
  /// Bytes all files to be downloaded will have, as far as the service tells.
  public let totalSize: Int
}

/// Adds up what several downloads at once receive, and reports it one at a time.
actor ProgressTally {
  private let report: @Sendable (HubProgress) -> Void
  private let totalSize: Int
  private var received: [String: Int] = [:]
  private var reported: [String: Int] = [:]
  private var total = 0
  /// Bytes between two reports of one file.
  private static let step = 1 << 20

  init(totalSize: Int, report: @escaping @Sendable (HubProgress) -> Void) {
    self.totalSize = totalSize
    self.report = report
  }

  func advance(_ file: RemoteFile, to bytes: Int) {
    total += bytes - (received.updateValue(bytes, forKey: file.path) ?? 0)
    let last = reported[file.path]
    guard last == nil || bytes == file.size || abs(bytes - (last ?? 0)) >= Self.step else { return }
    reported[file.path] = bytes
    report(
      HubProgress(file: file.path, received: bytes, size: file.size, totalReceived: total, totalSize: totalSize))
  }
}
