import Diagnostics
import Foundation
import TensorReferences
import Tensors
import Testing

/// The device layer. Kernels are tested together with the CPU's, wherever `Backends.results` is used.
struct GPUTests {
  private static func gpu() throws -> VulkanBackend { try #require(Backends.gpu) }

  /// A separate device, for tests that break it or count its work.
  private static func freshGPU() throws -> VulkanBackend { try VulkanBackend(try gpu().information) }

  /// The committed kernels were compiled from the committed sources (Scripts/shaders).
  @Test func kernelsMatchTheirSources() throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../Sources/CDevice/shaders").standardized
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for file in try FileManager.default.contentsOfDirectory(atPath: folder.path).filter({ $0.hasSuffix(".slang") })
      .sorted()
    {
      for byte in Array((file + "\n").utf8) + [UInt8](try Data(contentsOf: folder.appending(path: file))) {
        hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
      }
    }
    let digits = String(hash, radix: 16)
    #expect(
      VulkanBackend.kernelSourceHash == String(repeating: "0", count: 16 - digits.count) + digits,
      "run Scripts/shaders and commit Sources/CDevice/spirv")
  }

  @Test(.enabled(if: Backends.expectsGPU), arguments: ElementType.allCases) func bytesRoundTrip(_ type: ElementType)
    throws
  {
    let gpu = try Self.gpu()
    let shape = [3, 2 * max(1, type.blockLength)]
    let tensor = CPUBackend.shared.empty(shape, type)
    let bytes = (0..<tensor.byteCount).map { UInt8(truncatingIfNeeded: 37 &* $0 &+ 11) }
    tensor.storage.base.copyMemory(from: bytes, byteCount: bytes.count)
    let onDevice = gpu.resident(tensor)
    #expect(onDevice.type == type && onDevice.shape == shape)
    #expect(onDevice.withBytes { Array($0) } == bytes)
    let copy = gpu.empty(shape, type)
    gpu.copy(onDevice, to: copy)
    #expect(copy.withBytes { Array($0) } == bytes)
    gpu.copy(tensor, to: copy)
    #expect(copy.withBytes { Array($0) } == bytes)
  }

  /// More than the transfer buffers hold, in both directions.
  @Test(.enabled(if: Backends.expectsGPU)) func largeTensorsRoundTrip() throws {
    let gpu = try Self.freshGPU()
    let count = (40 << 20) / 4 + 3
    let values = (0..<count).map { Float($0 & 0xFFFFF) }
    let tensor = gpu.tensor(values, [count])
    #expect(gpu.floats(tensor) == values)
    #expect(
      gpu.floats([tensor, gpu.scaled(tensor, 2)]).map { $0[count - 1] } == [values[count - 1], 2 * values[count - 1]])
    #expect(gpu.counts.waits == 17)
  }

  @Test(.enabled(if: Backends.expectsGPU)) func manyTensorsAreReadWithOneWait() throws {
    let gpu = try Self.freshGPU()
    let tensors = (0..<100).map { gpu.tensor([Float($0), 1, 2], [3]) }
    #expect(gpu.floats(tensors) == (0..<100).map { [Float($0), 1, 2] })
    #expect(gpu.counts.waits == 1)
  }

  @Test(.enabled(if: Backends.expectsGPU)) func memoryIsReused() throws {
    let gpu = try Self.freshGPU()
    func step() {
      let first = gpu.empty([1000, 100], .float32)
      let second = gpu.scaled(first, 2)
      gpu.clear(second)
      _ = gpu.empty([3_000_000], .uint8)
    }
    step()
    let peak = gpu.memoryStatistics.peak
    #expect(gpu.memoryStatistics.inUse == 0 && peak > 1_200_000)
    let left = try #require(gpu.availableMemory)
    for _ in 0..<20 { step() }
    #expect(gpu.memoryStatistics.peak == peak && gpu.availableMemory == left)
    try gpu.finish()
  }

  /// Masks equal the CPU's, so a run can be resumed on another device.
  @Test(.enabled(if: Backends.expectsGPU), arguments: [Float(0.1), 0.5]) func dropoutMasksEqualTheCPUs(rate: Float)
    throws
  {
    let gpu = try Self.gpu()
    let x = Operand([1, 5003], seed: 1).values
    func masked(_ backend: any Backend) -> [Float] {
      let out = backend.empty([5003], .float32)
      backend.dropout(
        backend.tensor(x, [5003]), rate: rate, key: 0x1234_5678_9ABC_DEF0, into: out, accumulate: false)
      return backend.floats(out)
    }
    #expect(sameBits(masked(gpu), masked(Backends.single)))
  }

  /// In descending order, equal values by index, without NaN.
  @Test(.enabled(if: Backends.expectsGPU), arguments: [1, 2, 50, 128]) func largestElements(_ count: Int) throws {
    let gpu = try Self.gpu()
    var values = Operand([1003], seed: 8).values
    for place in [700, 90, 1002, 0] { values[place] = 9 }
    values[4] = .nan
    values[5] = .infinity
    values[6] = -.infinity
    let order = values.indices.filter { !values[$0].isNaN }
      .sorted { (-values[$0], $0) < (-values[$1], $1) }
    let found = try #require(gpu.largest(gpu.tensor(values, [1, 1003]), count: count))
    #expect(
      found.map(\.column) == Array(order.prefix(count)) && found.map(\.value) == order.prefix(count).map { values[$0] })
    #expect(gpu.largest(gpu.tensor([.nan, 1, .nan], [3]), count: 1)?[0].column == 1)
    #expect(gpu.largest(gpu.tensor([.nan, 1, .nan], [3]), count: 2) == nil)
    #expect(gpu.largest(gpu.tensor([1, 2], [2]), count: 3) == nil)
  }

  /// Tensors in host memory can be operands.
  @Test(.enabled(if: Backends.expectsGPU)) func hostTensorsCanBeOperands() throws {
    let gpu = try Self.gpu()
    let host = Backends.single.tensor([1, 2, 3, 4, 5, 6], [3, 2])
    #expect(gpu.floats(gpu.gatherRows(host, [2, 0])) == [5, 6, 1, 2])
    #expect(
      gpu.floats(gpu.converted(Backends.single.converted(host, to: .bfloat16), to: .float32)) == [1, 2, 3, 4, 5, 6])
    let left = gpu.leftOperand(Columns(host), transposed: false)
    let into = gpu.empty([3, 3], .float32)
    gpu.compute([Product([ProductTerm(left, host, transposed: true)], into: Columns(into))])
    #expect(gpu.floats(into) == [5, 11, 17, 11, 25, 39, 17, 39, 61])
    #expect(gpu.floats(host) == [1, 2, 3, 4, 5, 6])
  }

  @Test(.enabled(if: Backends.expectsGPU)) func pagedStateIsInHostMemory() throws {
    let gpu = try Self.freshGPU()
    let state = try gpu.pagedZeros([1000, 1000], .float32, in: "/")
    #expect(gpu.memoryStatistics.inUse == 0)
    #expect(gpu.floats(state).allSatisfy { $0 == 0 })
  }

  @Test(.enabled(if: Backends.expectsGPU)) func outOfMemoryIsReported() throws {
    let gpu = try Self.freshGPU()
    let elements = 100 << 20
    var held: [Tensor] = []
    for _ in 0...gpu.information.memory / (4 * elements) { held.append(gpu.empty([elements], .float32)) }
    // Later operations do nothing.
    let after = gpu.scaled(gpu.tensor([1, 2], [2]), 2)
    #expect(gpu.floats(after) == [0, 0])
    do {
      try gpu.check()
      Issue.record("more memory than there is")
    } catch {
      #expect(error.domain == .device)
      #expect(error.reason.contains("is out of memory") && error.reason.contains("per_device_train_batch_size"))
    }
  }

  @Test(.enabled(if: Backends.expectsGPU)) func aLostDeviceIsReported() throws {
    let gpu = try Self.freshGPU()
    let tensor = gpu.tensor([1, 2, 3], [3])
    gpu.simulateDeviceLoss()
    #expect(gpu.floats(tensor) == [0, 0, 0])
    #expect(throws: SwiftletError.self) { try gpu.finish() }
    #expect(throws: SwiftletError.self) { try gpu.check() }
  }

  @Test(.enabled(if: Backends.expectsGPU)) func kernelsAreTimed() throws {
    let gpu = try Self.freshGPU()
    let x = gpu.tensor(Operand([200, 200], seed: 1).values, [200, 200])
    let times = gpu.profiled {
      for _ in 0..<300 { gpu.scale(x, by: 1) }
      gpu.compute([
        Product(
          [ProductTerm(gpu.leftOperand(Columns(x), transposed: false), x, transposed: true)],
          into: Columns(gpu.empty([200, 200], .float32)))
      ])
    }
    #expect(times.first { $0.kernel == "scale" }?.count == 300)
    #expect(times.contains { $0.kernel == "product 0" && $0.seconds > 0 })
  }
}
