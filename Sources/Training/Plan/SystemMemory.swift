import Foundation

/// The memory of the machine, or of the container that the process is confined to.
public struct SystemMemory: Sendable, Hashable {
  /// All there is, in bytes.
  public var total: Int
  /// What could still be taken, in bytes, pages of files that the system can drop included.
  public var available: Int
  /// What this process has taken already, in bytes.
  public var resident: Int

  /// Memory of these sizes.
  package init(total: Int, available: Int, resident: Int) {
    self.total = total
    self.available = available
    self.resident = resident
  }

  /// The memory as it is now.
  public static var now: SystemMemory {
    let physical = Int(ProcessInfo.processInfo.physicalMemory)
    let free = kilobytes("MemAvailable:", in: "/proc/meminfo") ?? physical
    let resident = kilobytes("VmRSS:", in: "/proc/self/status") ?? 0
    let limits = [
      ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
      ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ]
    let confined = limits.compactMap { limit, usage in
      number(in: limit).map { (total: $0, free: max(0, $0 - (number(in: usage) ?? 0))) }
    }
    return SystemMemory(
      total: confined.reduce(physical) { min($0, $1.total) }, available: confined.reduce(free) { min($0, $1.free) },
      resident: resident)
  }

  /// The largest resident memory that this process has had, in bytes; 0 where the system does not tell.
  public static var peakResident: Int { kilobytes("VmHWM:", in: "/proc/self/status") ?? 0 }

  /// The number of bytes behind `label`, where the file gives it in kB.
  private static func kilobytes(_ label: String, in path: String) -> Int? {
    let text = try? String(contentsOfFile: path, encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix(label) }
    return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).compactMap { Int($0) }.first.map { $0 * 1024 }
  }

  /// The number that is all of a file; "max" is none.
  private static func number(in path: String) -> Int? {
    let text = try? String(contentsOfFile: path, encoding: .utf8)
    return text.flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
  }
}

extension SystemMemory {
  /// What the process could have at most, with what it has.
  public var reachable: Int { resident + available }
}
