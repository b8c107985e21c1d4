import CKernels

/// What the machine can do at most, measured over all threads of a backend.
public enum MachineBenchmark {
  /// Float32 multiply-adds from registers, in 10⁹ operations a second (a multiply-add counts as two).
  public static func fmaGFLOPS(on backend: CPUBackend) -> Double {
    let rounds = 2_000_000
    let work = Double(backend.threadCount * rounds * 96 * 8 * 2)
    return work / best(of: 3) { backend.pool.run(backend.threadCount) { _ in _ = ck_multiply_adds(rounds, 1) } } / 1e9
  }

  /// Reading memory far larger than any cache, in 10⁹ bytes a second.
  public static func readGBPerSecond(on backend: CPUBackend) -> Double {
    let count = 128 << 20
    let tensor = backend.empty([count], .float32)
    backend.clear(tensor)
    let share = count / backend.threadCount
    let seconds = best(of: 3) {
      backend.pool.run(backend.threadCount) { _ = ck_read_all(tensor.pointer() + $0 * share, share) }
    }
    return Double(share * backend.threadCount * 4) / seconds / 1e9
  }

  /// The shortest of some runs, in seconds, after one that does not count.
  static func best(of runs: Int, _ body: () -> Void) -> Double {
    body()
    let clock = ContinuousClock()
    return (0..<runs).map { _ in clock.measure(body) / .seconds(1) }.min() ?? .infinity
  }
}

/// The matrix product at the shapes of real models, in every storage format.
public enum ProductBenchmark {
  /// A shape, a format, and what was reached.
  public struct Result: Sendable {
    /// `m x n x k format`
    public let name: String
    /// 10⁹ operations a second.
    public let gflops: Double
  }

  /// The linear layers of SmolLM2-135M, Qwen3-0.6B and Phi-3-mini.
  static let shapes = [(1024, 576, 576), (1024, 1536, 576), (1024, 576, 1536), (1024, 3072, 1024), (512, 3072, 3072)]
  static let formats: [ElementType] = [.float32, .bfloat16, .nf4, .q8_0, .q4_1]

  /// Measures every shape, the first one in every format.
  public static func run(on backend: CPUBackend) -> [Result] {
    shapes.flatMap { m, n, k in formats.map { measure(m, n, k, $0, on: backend) } }
      + [measure(1024, 1536, 1536, .q4_K, on: backend)]
  }

  private static func measure(_ m: Int, _ n: Int, _ k: Int, _ type: ElementType, on backend: CPUBackend) -> Result {
    let left = backend.empty([m, k], .float32)
    backend.clear(left)
    let right: Tensor
    if type.isFourBitCode {
      let zeros = backend.empty([n, k], .float32)
      backend.clear(zeros)
      guard let codes = backend.quantized(zeros, to: FourBitFormat(type, isNested: true)) else {
        preconditionFailure("zeros are finite")
      }
      right = codes
    } else {
      right = backend.empty([n, k], type)
      backend.clear(right)
    }
    let out = backend.empty([m, n], .float32)
    let seconds = MachineBenchmark.best(of: 5) {
      let operand = backend.leftOperand(Columns(left), transposed: false)
      backend.compute([Product([ProductTerm(operand, right, transposed: true)], into: Columns(out))])
    }
    return Result(name: "\(m)x\(n)x\(k) \(type.rawValue)", gflops: 2e-9 * Double(m * n * k) / seconds)
  }
}
