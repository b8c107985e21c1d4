import Foundation
import Synchronization
import TensorReferences
import Tensors
import Testing

/// Several threads use a device at the same time, and none affects another's results.
struct GPUThreadTests {
  @Test(.enabled(if: Backends.expectsGPU)) func concurrentThreadsDoNotInterfere() throws {
    let gpu = try #require(Backends.gpu)
    let expected = (0..<Self.threads).map { Self.work(gpu, $0) }
    let wrong = Self.inThreads { thread in
      (0..<15).filter { _ in
        !zip(Self.work(gpu, thread), expected[thread]).allSatisfy { sameBits($0, $1) }
      }.count
    }
    #expect(wrong == [Int](repeating: 0, count: Self.threads))
    try gpu.check()
  }

  /// Each thread opens, uses and closes devices.
  @Test(.enabled(if: Backends.expectsGPU)) func threadsOpenDevices() throws {
    let shared = try #require(Backends.gpu)
    let expected = (0..<Self.threads).map { Self.work(shared, $0) }
    let wrong = Self.inThreads { thread in
      (0..<2).filter { _ in
        guard let gpu = try? VulkanBackend(shared.information) else { return true }
        return !zip(Self.work(gpu, thread), expected[thread]).allSatisfy { sameBits($0, $1) }
      }.count
    }
    #expect(wrong == [Int](repeating: 0, count: Self.threads))
  }

  private static let threads = 4

  private static func inThreads(_ body: @escaping @Sendable (_ thread: Int) -> Int) -> [Int] {
    let results = Mutex([Int](repeating: 0, count: threads))
    let group = DispatchGroup()
    for thread in 0..<threads {
      group.enter()
      Thread {
        let result = body(thread)
        results.withLock { $0[thread] = result }
        group.leave()
      }.start()
    }
    group.wait()
    return results.withLock { $0 }
  }

  /// Operations that upload lists, keep memory between kernels and read back, with other sizes in every thread.
  private static func work(_ backend: any Backend, _ number: Int) -> [[Float]] {
    let rows = 20 + 17 * number
    let shape = AttentionShape(attentionHeads: 4, keyValueHeads: 2, headDim: 8, scale: 0.3)
    let qkv = backend.tensor(Operand([rows, 64], seed: number + 1).values, [rows, 64])
    let starts = [0, 3 + number, rows]
    let (out, lse) = backend.attention(qkv, starts: starts, shape: shape, keepsLogSumExp: true)
    guard let lse else { return [] }
    let gradient = backend.attentionBackward(qkv, out: out, dOut: out, lse: lse, starts: starts, shape: shape)
    let left = backend.leftOperand(Columns(out), transposed: false)
    // An operand in host memory is uploaded between two products that do not wait for each other.
    let weights = [backend, Backends.single].map { $0.tensor(Operand([24, 32], seed: 9).values, [24, 32]) }
    let products = weights.map { _ in backend.empty([rows, 24], .float32) }
    backend.compute(
      zip(weights, products).map { Product([ProductTerm(left, $0, transposed: true)], into: Columns($1)) })
    let table = backend.empty([rows, 24], .float32)
    backend.clear(table)
    backend.scatterAddRows(products[0], (0..<rows).map { Int32($0 * 7 % (rows / 2)) }, into: table)
    let losses = backend.empty([rows, 4], .float32)
    backend.crossEntropy(
      table, targets: (0..<rows).map { Int32($0 % 24) }, gradientScale: 0.5, softcap: 0, smoothing: 0,
      weighsByProbability: false, into: losses)
    return backend.floats([gradient, table, losses] + products) + [[Float(backend.sumOfSquares([gradient, table]))]]
  }
}
