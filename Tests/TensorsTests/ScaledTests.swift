import TensorReferences
import Tensors
import Testing

/// Weights whose scales are apart: MLX's codes, MXFP4 and 8-bit floats. `ModelsTests/MLXTests` compares codes and values with
/// MLX's.
struct ScaledTests {
  private static let affine = [
    AffineFormat(), AffineFormat(bits: 4, groupSize: 32), AffineFormat(bits: 8, groupSize: 128), AffineFormat(bits: 8),
  ]

  /// A product with codes has the bits of one with their values, except for the order of a few additions.
  @Test(arguments: affine, [ElementType.float32, .bfloat16, .float16])
  func productsWithAffineCodes(format: AffineFormat, scaleType: ElementType) throws {
    let weight = Operand([37, 256], seed: 2)
    try expectProducts(of: weight) { backend in
      backend.quantized(backend.tensor(weight.values, weight.shape), to: format, scaleType: scaleType)
    }
  }

  /// Tiles that divide neither rows nor columns, one scale for all, and one per row.
  @Test(arguments: [(128, 128), (32, 1), (1 << 62, 1 << 62), (1 << 62, 1)])
  func productsWithFloat8(blockSize: Int, blockRows: Int) throws {
    let weight = Operand([150, 200], seed: 2)
    try expectProducts(of: weight) { backend in
      Self.float8(columns: 200, rows: 150, blockSize: blockSize, blockRows: blockRows, on: backend)
    }
  }

  private static func float8(
    columns: Int, rows: Int, blockSize: Int, blockRows: Int, on backend: any Backend
  ) -> Tensor {
    let host = CPUBackend.shared
    let codes = host.empty([rows, columns], .float8)
    for index in 0..<rows * columns {
      let byte = UInt8(truncatingIfNeeded: index &* 2_654_435_761 >> 7)
      codes.storage.base.storeBytes(of: byte & 0x7F == 0x7F ? 0 : byte, toByteOffset: index, as: UInt8.self)
    }
    let count = ((rows - 1) / blockRows + 1) * ((columns - 1) / blockSize + 1)
    let scales = host.tensor((0..<count).map { Float($0 % 7 + 1) / 512 }, [count])
    return backend.resident(
      Tensor(
        type: .float8, shape: [rows, columns], storage: codes.storage,
        scales: BlockScales(
          rows: rows, columns: columns, blockSize: blockSize, blockRows: blockRows, scales: scales,
          original: .bfloat16)))
  }

  private func expectProducts(of weight: Operand, _ quantized: (any Backend) -> Tensor?) throws {
    for m in [1, 3, 9, 33] {
      for transposed in [true, false] {
        let a = Operand([m, weight.shape[transposed ? 1 : 0]], seed: m)
        for (target, values) in Backends.results({ backend in
          quantized(backend).map { backend.products(a, $0, transposed: transposed) } ?? []
        }) {
          try #require(values.count == 2)
          #expect(worstError(values[0], values[1].map(Double.init)) < 2e-6, "\(target), \(m) rows, \(transposed)")
        }
      }
    }
  }

  /// All 256 codes, with the values that the format's paper lists (arXiv:2209.05433, table 1).
  @Test func float8Values() {
    let backend = Backends.single
    let codes = backend.empty([8, 32], .float8)
    for code in 0..<256 { codes.storage.base.storeBytes(of: UInt8(code), toByteOffset: code, as: UInt8.self) }
    let one = BlockScales(
      rows: 8, columns: 32, blockSize: 1 << 62, blockRows: 1 << 62, scales: backend.tensor([1], [1]), original: .float32
    )
    for target in InstructionSet.allCases {
      target.run {
        let found = backend.floats(Tensor(type: .float8, shape: [8, 32], storage: codes.storage, scales: one))
        for code in 0..<128 {
          let (exponent, mantissa) = (code >> 3, Float(code & 7))
          let power = { (n: Int) in Float(sign: .plus, exponent: n, significand: 1) }
          let value = exponent == 0 ? mantissa * power(-9) : (8 + mantissa) * power(exponent - 10)
          if code == 127 {
            #expect(found[127].isNaN && found[255].isNaN)
          } else {
            #expect(found[code] == value && found[128 + code] == -value, "\(target), \(code)")
          }
        }
        #expect(found[0x7E] == 448 && found[1] == 0x1p-9)
      }
    }
  }

  @Test func codesThatAreNotFiniteAreRefused() {
    let backend = Backends.single
    var values = [Float](repeating: 1, count: 64)
    values[5] = .infinity
    #expect(backend.quantized(backend.tensor(values, [1, 64]), to: AffineFormat(), scaleType: .float32) == nil)
  }
}
