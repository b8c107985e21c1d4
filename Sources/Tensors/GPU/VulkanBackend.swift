import CDevice
import Diagnostics
import Essentials

/// Computes on a GPU, or any other device with a Vulkan driver, with the kernels in `CDevice/shaders`.
///
/// Operations return before they are done; only reading values waits. Tensors in host memory are accepted as operands
/// and uploaded for that one operation. The CPU reads files and does everything whose rounding must match a reference
/// bit by bit: quantization and conversion to 16 bits. Results are deterministic for a device and driver.
public final class VulkanBackend: Backend {
  let device: OpenDevice
  let attentionTasks = LastLists<[Int], AttentionLists>()
  let convolutionTaps = LastLists<ConvolutionKey, ConvolutionLists>()
  let dynamicMaps = DynamicMapCache()
  var host: CPUBackend { CPUBackend.shared }

  /// Opens a device.
  /// - Parameter kernelCache: the folder in which compiled kernels are cached for the next run.
  /// - Throws: `SwiftletError` if the driver cannot open the device.
  public init(_ device: GPUDevice, kernelCache: String? = nil) throws(SwiftletError) {
    if let kernelCache {
      // Without the folder, kernels are compiled again the next time.
      try? FileManager.default.createDirectory(atPath: kernelCache, withIntermediateDirectories: true)
    }
    self.device = try OpenDevice(device, kernelCache: kernelCache)
  }

  /// The device that computes.
  public var information: GPUDevice { device.info }

  // MARK: Transfers

  /// The tensor in device memory: itself, or a copy.
  func uploaded(_ tensor: Tensor) -> Tensor {
    guard tensor.storage.deviceMemory == nil else { return tensor }
    let copy = allocate(tensor.shape, tensor.type)
    tensor.withBytes { upload($0, to: copy) }
    guard let scales = tensor.scales else { return copy }
    return Tensor(
      type: tensor.type, shape: tensor.shape, storage: copy.storage, scales: BlockScales(scales, moving: uploaded))
  }

  /// The tensor in host memory: itself, or a copy.
  func downloaded(_ tensor: Tensor) -> Tensor {
    guard tensor.storage.deviceMemory != nil else { return tensor }
    let copy = host.empty(tensor.shape, tensor.type)
    tensor.withBytes { bytes in
      if let from = bytes.baseAddress { copy.storage.base.copyMemory(from: from, byteCount: bytes.count) }
    }
    guard let scales = tensor.scales else { return copy }
    return Tensor(
      type: tensor.type, shape: tensor.shape, storage: copy.storage, scales: BlockScales(scales, moving: downloaded))
  }

  private func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) {
    guard let memory = tensor.storage.deviceMemory else { preconditionFailure("the tensor must be in device memory") }
    device.upload(bytes, to: memory.memory, offset: tensor.byteOffset)
  }

  /// A copy of an array in device memory.
  func uploadedArray<Element: BitwiseCopyable>(_ values: [Element]) -> DeviceMemory {
    values.withUnsafeBytes { bytes in
      let memory = DeviceMemory(device, byteCount: bytes.count)
      device.upload(bytes, to: memory.memory, offset: 0)
      return memory
    }
  }

  /// A tensor in device memory with the bytes of an array.
  func uploaded<Element: BitwiseCopyable>(_ values: [Element], _ type: ElementType = .int32) -> Tensor {
    values.withUnsafeBytes { bytes in
      let tensor = allocate([max(bytes.count / type.blockByteCount, 1)], type)
      upload(bytes, to: tensor)
      return tensor
    }
  }

  func allocate(_ shape: [Int], _ type: ElementType = .float32, inHostMemory: Bool = false) -> Tensor {
    let count = shape.reduce(1, *)
    // Kernels count elements in 32 bits. Batches decide how large tensors are, so this is the same mistake as too large
    // a one for the device's memory.
    if count > Int(Int32.max) { device.simulateFailure(cd_out_of_memory) }
    let byteCount = (count + type.blockLength - 1) / type.blockLength * type.blockByteCount
    let memory = DeviceMemory(device, byteCount: byteCount, inHostMemory: inHostMemory)
    return Tensor(type: type, shape: shape, storage: Storage(memory, byteCount: max(byteCount, 4)))
  }

  /// The device address of a tensor in device memory; 0 for `nil`.
  func address(_ tensor: Tensor?) -> UInt64 {
    guard let tensor else { return 0 }
    guard let memory = tensor.storage.deviceMemory else { preconditionFailure("kernels read device memory only") }
    return memory.memory.address + UInt64(tensor.byteOffset)
  }

  func address(_ columns: Columns) -> UInt64 { address(columns.tensor) + UInt64(4 * columns.offset) }

  /// Groups of `size` threads for `count` elements.
  func groups(_ count: Int, of size: Int = 64) -> Int { (count + size - 1) / size }

  // MARK: Memory

  /// Allocates device memory.
  public func empty(_ shape: [Int], _ type: ElementType) -> Tensor { allocate(shape, type) }

  /// Copies the tensor to device memory in its storage format, unless it is there already.
  public func resident(_ tensor: Tensor) -> Tensor {
    device.operation {
      // The pages of a mapped file are no longer needed.
      defer { tensor.releasePages() }
      return uploaded(tensor)
    }
  }

  /// Allocates device memory and uploads the values.
  public func tensor(_ values: [Float], _ shape: [Int]) -> Tensor {
    device.operation {
      precondition(shape.reduce(1, *) == values.count, "as many values as the shape has elements")
      let result = allocate(shape)
      values.withUnsafeBytes { upload($0, to: result) }
      return result
    }
  }

  /// Allocates device memory and uploads the values.
  public func tensor(_ values: [Int32]) -> Tensor {
    device.operation {
      let result = allocate([values.count], .int32)
      values.withUnsafeBytes { upload($0, to: result) }
      return result
    }
  }

  /// Dequantizes on the device, then reads all tensors with one wait.
  public func floats(_ tensors: [Tensor]) -> [[Float]] {
    device.operation {
      let wide = tensors.map { tensor -> Tensor in
        if tensor.storage.deviceMemory == nil || tensor.type == .float32 { return tensor }
        return KernelFormat(tensor) == nil ? downloaded(tensor) : dequantized(tensor)
      }
      var results = wide.map { tensor in
        tensor.storage.deviceMemory == nil ? host.floats(tensor) : [Float](repeating: 0, count: tensor.count)
      }
      var parts: [cd_read_part] = []
      for (index, tensor) in wide.enumerated() {
        guard let memory = tensor.storage.deviceMemory, tensor.count > 0 else { continue }
        results[index].withUnsafeMutableBytes { bytes in
          parts.append(
            cd_read_part(
              from: memory.memory, offset: UInt64(tensor.byteOffset), size: UInt64(bytes.count), to: bytes.baseAddress))
        }
      }
      if !parts.isEmpty { device.read(parts) }
      return withExtendedLifetime(wide) { results }
    }
  }

  /// Enqueues a fill command.
  public func clear(_ tensor: Tensor) {
    device.operation {
      guard let memory = tensor.storage.deviceMemory else { return host.clear(tensor) }
      device.clear(memory.memory, offset: tensor.byteOffset, byteCount: tensor.byteCount)
    }
  }

  /// Copies between any two places. Only copying from the device to the host waits.
  public func copy(_ from: Tensor, to: Tensor) {
    device.operation {
      precondition(from.type == to.type && from.count == to.count, "a copy has the type and size of the original")
      switch (from.storage.deviceMemory, to.storage.deviceMemory) {
      case (let source?, let target?):
        let start = from.byteOffset
        device.copy(
          source.memory, start, to: target.memory, to.byteOffset, byteCount: to.byteCount)
      case (nil, _?): from.withBytes { upload($0, to: to) }
      case (_, nil): host.copy(downloaded(from), to: to)
      }
    }
  }

  /// The use of device memory by this backend's tensors.
  public var memoryStatistics: (inUse: Int, peak: Int) {
    let use = device.memoryUse
    return (Int(use.in_use), Int(use.peak))
  }

  /// The device memory that the driver can still allocate.
  public var availableMemory: Int? { Int(device.memoryUse.available) }

  /// Waits until the queue is empty.
  public func finish() throws(SwiftletError) {
    device.finish()
    try device.check()
  }

  /// Reports the first failure since the device was opened. Doesn't wait.
  public func check() throws(SwiftletError) { try device.check() }

  /// Behaves from now on as if the driver had reset the device. For tests.
  package func simulateDeviceLoss() { device.simulateFailure(cd_lost) }

  /// Behaves from now on as if an allocation had failed. For tests.
  package func simulateOutOfMemory() { device.simulateFailure(cd_out_of_memory) }

  /// Limits the device memory that tensors can use. For tests.
  package func limitMemory(to byteCount: Int) { device.limitMemory(to: byteCount) }

  // MARK: Measurements

  /// The hash of the sources that the kernels of this program were compiled from.
  package static var kernelSourceHash: String { String(cString: cd_source_hash()) }

  /// The number of kernels dispatched since the device was opened, and how often the host waited until the device was
  /// idle.
  public var counts: (dispatches: Int, waits: Int) {
    let counters = device.counters
    return (Int(counters.dispatches), Int(counters.waits))
  }

  /// Measures the GPU time of each kernel while `body` runs. Sorted by time, the longest first.
  public func profiled(_ body: () throws -> Void) rethrows -> [(kernel: String, count: Int, seconds: Double)] {
    device.profile(true)
    defer { device.profile(false) }
    try body()
    return device.kernelTimes.map { ($0.name, $0.count, $0.seconds) }
  }
}
