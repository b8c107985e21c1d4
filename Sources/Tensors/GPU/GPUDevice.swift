import CDevice
import Diagnostics

/// A compute device with a Vulkan driver.
public struct GPUDevice: Sendable, Hashable {
  /// The index among all devices in the driver's order, which is N in `gpu:N` on the command line.
  public let index: Int
  /// The name that the driver reports.
  public let name: String
  /// The driver and its version.
  public let driver: String
  /// The size of its largest memory heap, in bytes.
  public let memory: Int
  /// Whether it computes on the processor, as Mesa's lavapipe does: for tests, far slower than the CPU backend.
  public let isSoftware: Bool
  /// Whether it shares the processor's memory.
  public let isIntegrated: Bool
  /// 8 or 16 if its matrix units multiply float16 matrices of this size with float32 sums; 0 if it has none that the
  /// kernels can use.
  let matrixSize: Int
  /// A feature that the kernels need and the device lacks; `nil` for a usable device.
  public let missingFeature: String?

  /// All devices; empty if there is no Vulkan loader or driver. The first call opens the loader.
  public static var all: [GPUDevice] {
    let most: Int32 = 16
    var infos = [cd_info](repeating: cd_info(), count: Int(most))
    let count = min(cd_list(&infos, most), most)
    return infos.prefix(Int(count)).enumerated().map { GPUDevice(index: $0.offset, info: $0.element) }
  }

  /// Whether it has matrix units that multiply float16 matrices and accumulate in float32.
  public var hasMatrixUnits: Bool { matrixSize > 0 }

  private init(index: Int, info: cd_info) {
    self.index = index
    name = Self.text(info.name)
    driver = Self.text(info.driver)
    memory = Int(info.memory)
    isSoftware = info.is_software
    isIntegrated = info.is_integrated
    matrixSize = Int(info.matrix_size)
    let missing = Self.text(info.missing)
    missingFeature = missing.isEmpty ? nil : missing
  }

  /// The device `other`, passed off as software or hardware, for tests.
  package init(_ other: GPUDevice, isSoftware: Bool) {
    index = other.index
    name = other.name
    driver = other.driver
    memory = other.memory
    self.isSoftware = isSoftware
    isIntegrated = other.isIntegrated
    matrixSize = other.matrixSize
    missingFeature = other.missingFeature
  }

  /// The text in a C array of characters.
  private static func text<Array>(_ array: Array) -> String {
    withUnsafeBytes(of: array) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}

/// An open device with one queue, which executes commands in order. Any thread may use it, one at a time.
final class OpenDevice: Sendable {
  let info: GPUDevice
  /// Every function of `CDevice` acquires the device's lock.
  private nonisolated(unsafe) let handle: OpaquePointer

  /// - Parameter kernelCache: the folder in which the driver's compiled kernels are cached.
  init(_ info: GPUDevice, kernelCache: String?) throws(SwiftletError) {
    var message = [CChar](repeating: 0, count: 256)
    guard let handle = cd_open(Int32(info.index), kernelCache, &message, message.count) else {
      let reason = String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      throw SwiftletError.device("\(info.name) cannot be used: \(reason); use another device or --device cpu")
    }
    self.info = info
    self.handle = handle
  }

  deinit { cd_close(handle) }

  /// Throws the first failure since the device was opened.
  func check() throws(SwiftletError) {
    var message = [CChar](repeating: 0, count: 256)
    let status = cd_check(handle, &message, message.count)
    if status == cd_ok { return }
    if status == cd_out_of_memory {
      let use = cd_memory_use(handle)
      throw SwiftletError.device(
        "\(info.name) is out of memory (\(use.in_use >> 20) MB in use, \(use.available >> 20) MB left); lower "
          + "per_device_train_batch_size or max_length, set gradient_checkpointing: true, or load_in_4bit: true")
    }
    let reason = String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    throw SwiftletError.device(
      status == cd_lost
        ? "\(info.name) was lost: \(reason); resume from the last checkpoint"
        : "\(info.name) failed: \(reason); resume from the last checkpoint, with --device cpu if it fails again")
  }

  func simulateFailure(_ status: cd_status) { cd_simulate_failure(handle, status) }

  func limitMemory(to byteCount: Int) { cd_limit(handle, UInt64(byteCount)) }

  /// Runs `body` while no other thread can use the device and no freed memory is reused, so that addresses stay valid
  /// until the kernels that use them are recorded. Operations can be nested.
  func operation<Result>(_ body: () -> Result) -> Result {
    cd_begin(handle)
    defer { cd_end(handle) }
    return body()
  }

  // MARK: Memory

  func allocate(_ byteCount: Int, inHostMemory: Bool = false) -> cd_memory {
    cd_allocate(handle, UInt64(max(byteCount, 4)), inHostMemory ? cd_host_memory : cd_device_memory)
  }

  func deallocate(_ memory: cd_memory) { cd_deallocate(handle, memory) }

  var memoryUse: cd_memory_statistics { cd_memory_use(handle) }

  // MARK: Commands

  func upload(_ bytes: UnsafeRawBufferPointer, to memory: cd_memory, offset: Int) {
    cd_upload(handle, memory, UInt64(offset), bytes.baseAddress, UInt64(bytes.count))
  }

  func copy(_ from: cd_memory, _ fromOffset: Int, to: cd_memory, _ toOffset: Int, byteCount: Int) {
    cd_copy(handle, from, UInt64(fromOffset), to, UInt64(toOffset), UInt64(byteCount))
  }

  func clear(_ memory: cd_memory, offset: Int, byteCount: Int) {
    cd_clear(handle, memory, UInt64(offset), UInt64((byteCount + 3) / 4 * 4))
  }

  /// Reads all parts with one wait.
  func read(_ parts: [cd_read_part]) { cd_read(handle, parts, Int32(parts.count)) }

  func finish() { cd_finish(handle) }

  /// Runs a kernel on a grid of groups, within an operation.
  ///
  /// - Parameters:
  ///   - constant: the specialization constant 0 of its module.
  ///   - list: an array to copy to the device; its address replaces the first 8 bytes of the arguments.
  ///   - needsBarrier: whether the kernel reads what the previous dispatch wrote.
  func run<Arguments: BitwiseCopyable>(
    _ kernel: StaticString, constant: Int? = nil, _ arguments: Arguments, list: UnsafeRawBufferPointer? = nil,
    groups: (x: Int, y: Int, z: Int), needsBarrier: Bool = true
  ) {
    var value = UInt32(constant ?? 0)
    let name = UnsafeRawPointer(kernel.utf8Start).assumingMemoryBound(to: CChar.self)
    let number = cd_kernel(handle, name, &value, constant == nil ? 0 : 1)
    withUnsafeBytes(of: arguments) { bytes in
      var call = cd_call(
        arguments: bytes.baseAddress, list: list?.baseAddress, size: bytes.count, list_size: list?.count ?? 0,
        x: UInt32(groups.x), y: UInt32(groups.y), z: UInt32(groups.z), needs_barrier: needsBarrier)
      cd_dispatch(handle, number, &call)
    }
  }

  /// Runs a kernel on `groupCount` groups, arranged in a grid of limited width.
  func run<Arguments: BitwiseCopyable>(
    _ kernel: StaticString, constant: Int? = nil, _ arguments: Arguments, list: UnsafeRawBufferPointer? = nil,
    groupCount: Int, needsBarrier: Bool = true
  ) {
    let width = 32768
    run(
      kernel, constant: constant, arguments, list: list,
      groups: (min(groupCount, width), (groupCount + width - 1) / width, groupCount > 0 ? 1 : 0),
      needsBarrier: needsBarrier)
  }

  // MARK: Measurements

  var counters: cd_counters { cd_count(handle) }

  func profile(_ on: Bool) { cd_profile(handle, on) }

  var kernelTimes: [(name: String, count: Int, seconds: Double)] {
    var times = [cd_kernel_time](repeating: cd_kernel_time(), count: 512)
    let count = cd_kernel_times(handle, &times, Int32(times.count))
    return times.prefix(Int(count)).map { time in
      let name = withUnsafeBytes(of: time.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      return (name, Int(time.count), time.seconds)
    }
  }
}

/// Bytes on a device, freed with the last reference. Kernels that were recorded earlier can still use them.
final class DeviceMemory: Sendable {
  let device: OpenDevice
  let memory: cd_memory

  init(_ device: OpenDevice, byteCount: Int, inHostMemory: Bool = false) {
    self.device = device
    memory = device.allocate(byteCount, inHostMemory: inHostMemory)
  }

  deinit { device.deallocate(memory) }

  /// The device address of the first byte.
  var address: UInt64 { memory.address }

  /// Reads bytes, starting at `offset`. Waits for the device.
  func read(into target: UnsafeMutableRawBufferPointer, offset: Int) {
    if target.count == 0 { return }
    device.read([
      cd_read_part(from: memory, offset: UInt64(offset), size: UInt64(target.count), to: target.baseAddress)
    ])
  }
}
