import TensorReferences
import Tensors
import Testing

/// Kernels on 4-bit codes. `CheckpointsTests/BitsAndBytesTests` compares codes and values with bitsandbytes.
struct FourBitTests {
  private static let formats = [
    FourBitFormat(.nf4), FourBitFormat(.fp4, blockSize: 32), FourBitFormat(.nf4, blockSize: 128, doubleQuantized: true),
    FourBitFormat(.fp4, blockSize: 4096, doubleQuantized: true),
  ]

  /// Rows that consist of whole blocks, of whole groups of 32, of whole bytes, or of none of these.
  @Test(arguments: formats, [(40, 64), (33, 96), (34, 200), (19, 45), (65, 384), (5, 3)])
  func products(format: FourBitFormat, size: (rows: Int, columns: Int)) throws {
    let weight = Operand([size.rows, size.columns], seed: 2)
    for m in [1, 2, 3, 7, 33] {
      for transposed in [true, false] {
        let a = Operand([m, transposed ? size.columns : size.rows], seed: m)
        for (target, values) in Backends.results({ backend in
          let codes = backend.quantized(backend.tensor(weight.values, weight.shape), to: format)
          return codes.map { backend.products(a, $0, transposed: transposed) } ?? []
        }) {
          try #require(values.count == 2)
          if m <= 4, transposed {
            // Dot products apply a block's scale to its sum.
            #expect(worstError(values[0], values[1].map(Double.init)) < 2e-6, "\(target), \(m) rows")
          } else {
            // The same sums in the same order, whatever the format.
            #expect(sameBits(values[0], values[1]), "\(target), \(m) rows, transposed: \(transposed)")
          }
        }
      }
    }
  }

  @Test(arguments: formats) func rowsAreGathered(format: FourBitFormat) throws {
    for columns in [37, 64, 100, 160] {
      let weight = Operand([9, columns], seed: 4)
      for (target, values) in Backends.results({ backend in
        guard let codes = backend.quantized(backend.tensor(weight.values, weight.shape), to: format) else { return [] }
        return [backend.floats(codes), backend.floats(backend.gatherRows(codes, [8, 0, 3]))]
      }) {
        try #require(values.count == 2)
        let rows = [8, 0, 3].flatMap { values[0][$0 * columns..<($0 + 1) * columns] }
        #expect(sameBits(values[1], rows), "\(target)")
      }
    }
  }

  /// No dequantized element is off by more than half the widest gap between levels, and requantizing changes nothing.
  @Test(arguments: [ElementType.nf4, .fp4]) func dequantizedWeightsAreClose(type: ElementType) throws {
    let weight = Operand([64, 64], seed: 5)
    let levels = FourBitFormat.levels(of: type).sorted()
    let gap = zip(levels, levels.dropFirst()).map { $1 - $0 }.max() ?? 0
    for target in InstructionSet.allCases {
      try target.run {
        let backend = Backends.single
        let wide = backend.tensor(weight.values, weight.shape)
        let codes = try #require(backend.quantized(wide, to: FourBitFormat(type)))
        let found = backend.floats(codes)
        for block in stride(from: 0, to: found.count, by: 64) {
          let most = weight.values[block..<block + 64].map(abs).max() ?? 0
          for index in block..<block + 64 {
            #expect(abs(found[index] - weight.values[index]) <= gap / 2 * most * 1.000001, "\(target)")
          }
        }
        let again = try #require(backend.quantized(backend.converted(codes, to: .float32), to: FourBitFormat(type)))
        // Compared by value: FP4's negative zero becomes positive.
        #expect(backend.floats(again) == found, "\(target)")
      }
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity]) func nonFiniteWeightsAreRejected(value: Float) {
    for index in [0, 63, 64, 130] {
      var values = Operand([1, 131], seed: 6).values
      values[index] = value
      for target in InstructionSet.allCases {
        target.run {
          let backend = Backends.single
          #expect(backend.quantized(backend.tensor(values, [131]), to: FourBitFormat(doubleQuantized: true)) == nil)
        }
      }
    }
  }

  /// Scales that are all equal, zero, or too small for a reciprocal do not trap.
  @Test(arguments: [0, 0x1p-149, 0x1p-136, 0x1p-126, 1e30] as [Float]) func extremeScales(value: Float) throws {
    let backend = Backends.single
    for count in [1, 64, 65, 300 * 64] {
      let values = (0..<count).map { (index: Int) -> Float in
        if index % 3 == 0 { return -value }
        return value / Float(1 + index / 64 % 5)
      }
      let codes = try #require(
        backend.quantized(backend.tensor(values, [count]), to: FourBitFormat(doubleQuantized: true)))
      let finite = backend.floats(codes).filter(\.isFinite)
      #expect(finite.count == count)
    }
  }
}
