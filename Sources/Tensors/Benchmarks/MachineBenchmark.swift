import CKernels

/// The machine's peak arithmetic and memory throughput, measured with all threads of a backend.
public enum MachineBenchmark {
  /// The peak rate of float32 multiply-adds on registers, in 10⁹ operations per second (a multiply-add counts as two).
  public static func fmaGFLOPS(on backend: CPUBackend) -> Double {
    let rounds = 2_000_000
    let work = Double(backend.threadCount * rounds * 96 * 8 * 2)
    return work / best(of: 3) { backend.pool.run(backend.threadCount) { _ in _ = ck_multiply_adds(rounds, 1) } } / 1e9
  }

  /// The rate of reading 512 MB, which no cache holds, in 10⁹ bytes per second.
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

  /// The shortest time of at least `runs` runs, in seconds, after one for warming up. Repeats for at least 50 ms.
  static func best(of runs: Int, _ body: () -> Void) -> Double {
    body()
    let clock = ContinuousClock()
    var times: [Double] = []
    while times.count < runs || times.reduce(0, +) < 0.05 { times.append(clock.measure(body) / .seconds(1)) }
    return times.min() ?? .infinity
  }
}

/// The throughput of matrix products with the shapes of real models, in every storage format.
public enum ProductBenchmark {
  /// The measured throughput for one shape and storage format.
  public struct Result: Sendable {
    /// The shape and the type of the right operand, as in `256x576x576 float32` for `[256, 576]` times `[576, 576]`.
    public let name: String
    /// The throughput in 10⁹ operations per second (a multiply-add counts as two).
    public let gflops: Double
  }

  /// The output and input sizes of linear layers in SmolLM2-135M, Qwen3-0.6B and Phi-3-mini.
  static let linears = [
    (576, 576), (1536, 576), (576, 1536), (2048, 1024), (3072, 1024), (1024, 3072), (3072, 3072), (16384, 3072),
    (3072, 8192),
  ]
  static let rowCounts = [256, 1024, 2048]
  /// One layer of each model, measured in every format.
  static let formatShapes = [(1024, 1536, 576), (1024, 3072, 1024), (1024, 3072, 3072)]
  static let formats: [ElementType] = [.bfloat16, .float16, .nf4, .q8_0, .q4_0, .q4_1, .q4_K, .q6_K]

  /// Measures every shape in float32, and some in every format, in 16 bits too if the backend multiplies those faster.
  /// - Parameter largest: leaves out products of more multiplications.
  public static func run(on backend: any Backend, largest: Int = 2 << 34) -> [Result] {
    let shapes = rowCounts.flatMap { m in linears.map { (m, $0.0, $0.1) } }
    let stored = formatShapes.flatMap { shape in
      formats.filter { $0.isFourBitCode || shape.2 % $0.blockLength == 0 }.map { (shape, $0) }
    }
    let all = (shapes.map { ($0, ElementType.float32) } + stored).filter { $0.0.0 * $0.0.1 * $0.0.2 <= largest }
    let precisions: [Precision] = backend.multipliesBFloat16 ? [.float32, .bfloat16] : [.float32]
    return precisions.flatMap { precision in all.compactMap { measure($0.0, $0.1, precision, on: backend) } }
  }

  private static func measure(
    _ shape: (m: Int, n: Int, k: Int), _ type: ElementType, _ precision: Precision, on backend: any Backend
  ) -> Result? {
    let (m, n, k) = shape
    let left = backend.empty([m, k], .float32)
    backend.clear(left)
    guard let right = weight([n, k], type, on: backend) else { return nil }
    let out = backend.empty([m, n], .float32)
    let seconds = MachineBenchmark.best(of: 5) {
      let operand = backend.leftOperand(Columns(left), transposed: false, precision: precision)
      backend.compute([Product([ProductTerm(operand, right, transposed: true)], into: Columns(out))])
      try? backend.finish()
    }
    let suffix = precision == .bfloat16 ? ", 16 bits" : ""
    return Result(name: "\(m)x\(n)x\(k) \(type.rawValue)\(suffix)", gflops: 2e-9 * Double(m * n * k) / seconds)
  }

  private static func weight(_ shape: [Int], _ type: ElementType, on backend: any Backend) -> Tensor? {
    let right = backend.empty(shape, type.isFourBitCode ? .float32 : type)
    backend.clear(right)
    return type.isFourBitCode ? backend.quantized(right, to: FourBitFormat(type, doubleQuantized: true)) : right
  }
}
