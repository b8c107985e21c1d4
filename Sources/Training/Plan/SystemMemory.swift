import Essentials
import Tensors

#if canImport(Darwin)
  import Darwin
#endif

/// The memory of the machine, or of the container that the process is confined to, in bytes.
public struct SystemMemory: Sendable, Hashable {
  /// Installed memory, or the container's limit if that is lower.
  public var total: Int
  /// Memory that can still be allocated, including cached file pages that the system can drop.
  public var available: Int
  /// Resident memory of this process.
  public var resident: Int

  package init(total: Int, available: Int, resident: Int) {
    self.total = total
    self.available = available
    self.resident = resident
  }

  /// The current state of the machine's memory.
  public static var now: SystemMemory {
    let physical = Int(ProcessInfo.processInfo.physicalMemory)
    let limits = ControlGroups().memory
    return SystemMemory(
      total: limits.reduce(physical) { min($0, $1.limit) },
      available: limits.reduce(machineAvailable ?? physical) { min($0, $1.free) },
      resident: processMemory.resident)
  }

  /// The memory that a backend computes in, as it is now: the device's own, or the machine's.
  package static func of(_ backend: any Backend) -> SystemMemory {
    guard let left = backend.availableMemory else { return .now }
    let used = backend.memoryStatistics.inUse
    // A device's buffers come in eight sizes to each power of two, so up to an eighth of them is unused.
    let available = left / 8 * 7
    return SystemMemory(total: used + available, available: available, resident: used)
  }

  /// The highest resident memory of this process so far, in bytes, or 0 if the system doesn't say.
  public static var peakResident: Int { processMemory.peak }

  /// The part of it for each of several processes on this machine.
  package func shared(by processes: Int) -> SystemMemory {
    SystemMemory(total: total / max(1, processes), available: available / max(1, processes), resident: resident)
  }

  /// Memory that this process can use in all: what it has and what is available.
  public var reachable: Int { resident + available }
}

extension SystemMemory {
  #if canImport(Darwin)
    private static var processMemory: (resident: Int, peak: Int) {
      var info = mach_task_basic_info()
      var count = mach_msg_type_number_t(MemoryLayout<mach_task_basic_info>.size / MemoryLayout<natural_t>.size)
      let status = withUnsafeMutablePointer(to: &info) { pointer in
        pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
          task_info(mach_task_self_, task_flavor_t(MACH_TASK_BASIC_INFO), $0, &count)
        }
      }
      return status == KERN_SUCCESS ? (Int(info.resident_size), Int(info.resident_size_max)) : (0, 0)
    }

    private static var machineAvailable: Int? {
      var info = vm_statistics64()
      var count = mach_msg_type_number_t(MemoryLayout<vm_statistics64>.size / MemoryLayout<integer_t>.size)
      let host = mach_host_self()
      defer { mach_port_deallocate(mach_task_self_, host) }
      let status = withUnsafeMutablePointer(to: &info) { pointer in
        pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
          host_statistics64(host, HOST_VM_INFO64, $0, &count)
        }
      }
      guard status == KERN_SUCCESS else { return nil }
      // `free_count` includes speculative pages; inactive and purgeable ones are given up under pressure.
      let pages = Int(info.free_count) + Int(info.inactive_count) + Int(info.purgeable_count)
      return pages * Int(getpagesize())
    }
  #else
    private static var processMemory: (resident: Int, peak: Int) {
      let status = text("/proc/self/status")
      return (kilobytes("VmRSS:", in: status) ?? 0, kilobytes("VmHWM:", in: status) ?? 0)
    }

    private static var machineAvailable: Int? { kilobytes("MemAvailable:", in: text("/proc/meminfo")) }

    private static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

    /// The number of bytes after `label`, from a line that gives it in kB.
    private static func kilobytes(_ label: String, in text: String) -> Int? {
      let line = text.split(separator: "\n").first { $0.hasPrefix(label) }
      return line?.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.first.map { $0 * 1024 }
    }
  #endif
}
