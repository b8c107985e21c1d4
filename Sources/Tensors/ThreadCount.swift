import CKernels
import Essentials

/// The number of threads that compute: from the environment, or from the processors that the process may use.
public enum ThreadCount {
  /// The environment variable that sets the number of threads.
  public static let variable = "SWIFTLET_THREADS"

  /// The default number of threads: ``variable`` if it is a valid number, otherwise the number of processors that the
  /// affinity mask and the cgroup's CPU quota (rounded up) allow.
  public static var automatic: Int {
    chosen(
      variable: ProcessInfo.processInfo.environment[variable], processors: processors,
      quota: ControlGroups().processors)
  }

  /// The number of processors in the process's affinity mask.
  public static var processors: Int { ck_processors() }

  package static func chosen(variable: String?, processors: Int, quota: Double?) -> Int {
    if let count = variable.flatMap(parsed) { return count }
    guard let quota, quota < Double(processors) else { return processors }
    return max(1, Int(quota.rounded(.up)))
  }

  /// The processors' worth of time that the process's cgroup may use; `nil` without a limit.
  public static var quota: Double? { ControlGroups().processors }

  /// The numbers of the processors that the process's affinity mask contains.
  public static var processorNumbers: [Int32] {
    var numbers = [Int32](repeating: 0, count: ck_processors())
    let count = ck_processor_numbers(&numbers, numbers.count)
    return Array(numbers.prefix(count))
  }

  /// The threads for one of several processes on a machine, so that all of them together don't use more than there are
  /// processors: each processor is divided evenly among the processes that may use it.
  ///
  /// - Parameters:
  ///   - index: which of the processes.
  ///   - masks: the numbers of the processors that each process may use.
  ///   - quota: the processors' worth of time that all of them may use together; `nil` without a limit.
  public static func share(of index: Int, among masks: [[Int32]], quota: Double? = nil) -> Int {
    var users: [Int32: Int] = [:]
    for number in masks.joined() { users[number, default: 0] += 1 }
    var share = masks[index].reduce(0.0) { $0 + 1 / Double(users[$1] ?? 1) }
    if let quota { share = min(share, quota / Double(masks.count)) }
    // Thirds that add up to 0.999... are a whole processor.
    return max(1, Int(share + 1e-6))
  }

  /// The most threads that a pool starts.
  public static let most = 1024

  /// Parses a number of threads; `nil` if `text` is not an integer from 1 to ``most``.
  public static func parsed(_ text: String) -> Int? {
    Int(text).flatMap { (1...most).contains($0) ? $0 : nil }
  }
}
