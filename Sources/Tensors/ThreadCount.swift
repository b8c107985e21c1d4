import CKernels
import Essentials

/// How many threads compute.
public enum ThreadCount {
  /// The environment variable that sets the number of threads.
  public static let variable = "SWIFTLET_THREADS"

  /// The number of threads that ``CPUBackend/shared`` starts with: ``variable`` if it is a positive number, otherwise
  /// the processors that the process may use, by its affinity mask and its cgroup's CPU quota (rounded up).
  public static var automatic: Int {
    chosen(
      variable: ProcessInfo.processInfo.environment[variable], processors: processors,
      quota: ControlGroups().processors)
  }

  /// The processors that the process's affinity mask contains.
  public static var processors: Int { ck_processors() }

  package static func chosen(variable: String?, processors: Int, quota: Double?) -> Int {
    if let count = variable.flatMap(parsed) { return count }
    guard let quota, quota < Double(processors) else { return processors }
    return max(1, Int(quota.rounded(.up)))
  }

  /// The most threads that a pool starts.
  public static let most = 1024

  /// The number of threads that `text` asks for, or `nil` if it is not a number from 1 to ``most``.
  public static func parsed(_ text: String) -> Int? {
    Int(text).flatMap { (1...most).contains($0) ? $0 : nil }
  }
}
