import Synchronization
import Tensors
import Testing

/// Reuse of buffers, and what keeps their bytes alive.
struct MemoryTests {
  @Test func buffersAreReused() {
    let backend = CPUBackend(threads: 1)
    var first: Tensor? = backend.empty([1000], .float32)
    let address = first?.storage.base
    let used = backend.memoryStatistics.inUse
    #expect(used >= 4000 && used < 4600)
    first = nil
    #expect(backend.memoryStatistics.inUse == 0)
    let second = backend.empty([10, 100], .float32)
    #expect(second.storage.base == address)
    #expect(backend.memoryStatistics.inUse == used && backend.memoryStatistics.peak == used)
    let third = backend.empty([1000], .float32)
    #expect(third.storage.base != address)
    #expect(backend.memoryStatistics.peak == 2 * used)
  }

  @Test func buffersHoldTheRequestedBytes() {
    let backend = CPUBackend(threads: 1)
    for type in ElementType.allCases {
      for blocks in [0, 1, 3, 17, 1000] {
        let tensor = backend.empty([blocks * type.blockLength], type)
        #expect(tensor.byteCount == blocks * type.blockByteCount)
        #expect(tensor.storage.byteCount >= tensor.byteCount)
        #expect(tensor.storage.byteCount <= max(64, tensor.byteCount + max(64, tensor.byteCount / 8)))
        #expect(UInt(bitPattern: tensor.storage.base) % 64 == 0)
      }
    }
  }

  /// Counts the storages that were released.
  private final class Releases: Sendable {
    let count = Atomic(0)
  }

  @Test func viewsKeepTheirStorage() {
    let releases = Releases()
    func makeView() -> Tensor {
      let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
      memory.initializeMemory(as: Float.self, repeating: 1.5, count: 16)
      let storage = Storage(base: memory, byteCount: 64) { pointer, count in
        #expect(count == 64)
        pointer.deallocate()
        releases.count.add(1, ordering: .relaxed)
      }
      return Tensor(type: .float32, shape: [4, 4], storage: storage).rows(1..<3)
    }
    var view: Tensor? = makeView()
    #expect(view?.shape == [2, 4] && view?.byteOffset == 16)
    #expect(view.map(Backends.single.floats) == [Float](repeating: 1.5, count: 8))
    #expect(releases.count.load(ordering: .relaxed) == 0)
    view = nil
    #expect(releases.count.load(ordering: .relaxed) == 1)
  }

  @Test func borrowedMemoryKeepsItsOwner() {
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16)
    defer { bytes.deallocate() }
    weak var owner: Releases?
    var borrowed: Tensor?
    do {
      let strong = Releases()
      owner = strong
      borrowed = Tensor(
        type: .uint8, shape: [16], storage: Storage(borrowing: bytes, byteCount: 16, owner: strong))
    }
    #expect(borrowed?.count == 16)
    #expect(owner != nil)
    borrowed = nil
    #expect(owner == nil)
  }

  /// A step releases everything it allocated, and the next one needs no more memory.
  @Test(arguments: [true, false], [true, false])
  func stepsLeakNoMemory(runsBackward: Bool, checkpoints: Bool) {
    let backend = CPUBackend(threads: 2)
    let layer = DecoderLayer(on: backend, trainsWeights: false)
    let x = backend.tensor(Operand([30, 32], seed: 1).values, [30, 32])
    func step() {
      let tape = Tape(on: backend, isRecording: true)
      let y = layer.run(tape, Variable(x, requiresGradient: true), starts: [0, 10, 30], checkpoints: checkpoints)
      _ = tape.linearCrossEntropy(
        y, head: layer.head, targets: [Int32](repeating: 1, count: 30), gradientScale: 1)
      if runsBackward { tape.backward() }
      for parameter in layer.parameters { parameter.gradient = nil }
    }
    let before = backend.memoryStatistics.inUse
    step()
    let peak = backend.memoryStatistics.peak
    #expect(backend.memoryStatistics.inUse == before)
    for _ in 0..<3 { step() }
    #expect(backend.memoryStatistics.inUse == before)
    #expect(backend.memoryStatistics.peak == peak)
  }
}
