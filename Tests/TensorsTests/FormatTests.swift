import TensorReferences
import Tensors
import Testing

/// Dequantization and conversion between types.
struct FormatTests {
  @Test func everyBlockFormatIsTested() {
    let types = ElementType.allCases.filter { $0.isQuantized && !$0.hasScales }
    #expect(StoredBlocks.all.map(\.type) == types)
  }

  /// The reference computes in float32 too, so only the order of a multiplication and a subtraction may differ.
  @Test(arguments: StoredBlocks.all)
  func blocksAreDequantized(_ blocks: StoredBlocks) {
    for (target, values) in Backends.results({ backend in
      let tensor = blocks.tensor(backend)
      return [backend.floats(tensor), backend.floats(backend.gatherRows(tensor, [3, 1, 3]))]
    }) {
      #expect(worstError(values[0], blocks.values.map(Double.init)) < 1.5e-7, "\(target)")
      let rows = [3, 1, 3].flatMap { values[0][$0 * blocks.columns..<($0 + 1) * blocks.columns] }
      #expect(sameBits(values[1], rows), "\(target)")
    }
  }

  /// Each of the 65,536 bit patterns converts to its value in float32 and back to itself.
  @Test(arguments: [ElementType.float16, .bfloat16])
  func float16RoundTrips(type: ElementType) {
    let patterns = (0...UInt16.max).map { $0 }
    let expected = patterns.map { pattern in
      type == .float16 ? Float(Float16(bitPattern: pattern)) : Float(bitPattern: UInt32(pattern) << 16)
    }
    for target in InstructionSet.allCases {
      target.run {
        let backend = Backends.single
        let narrow = backend.empty([256, 256], type)
        narrow.storage.base.copyMemory(from: patterns, byteCount: 2 * patterns.count)
        let wide = backend.converted(narrow, to: .float32)
        let found = backend.floats(wide)
        #expect(zip(found, expected).allSatisfy { $0.bitPattern == $1.bitPattern || ($0.isNaN && $1.isNaN) })
        let back = bits(backend.converted(wide, to: type))
        #expect(zip(back, patterns).enumerated().allSatisfy { $1.0 == $1.1 || expected[$0].isNaN })
        #expect(expected.indices.allSatisfy { !expected[$0].isNaN || isNaN(back[$0], type) })
      }
    }
  }

  /// Around each representable value: ties round to the even neighbor, everything else to the nearer one.
  @Test(arguments: [ElementType.float16, .bfloat16])
  func conversionRoundsToNearestEven(type: ElementType) {
    var samples: [Float] = [0, -0.0, .infinity, -.infinity, .nan, -.nan, .greatestFiniteMagnitude, 65504, 65519.996]
    samples += [65520, 65536, -65520, .leastNonzeroMagnitude, .leastNormalMagnitude, 0x1p-24, 0x1p-25, 0x1.000002p-25]
    samples += [0x1.8p-24, 0x1p-14, 0x1.ffcp-15, 0x1.ffep-15, Float(bitPattern: 0x7F7F_7FFF), 0x1p-133, 0x1p-134]
    samples += [Float(bitPattern: 0x7F7F_8000), Float(bitPattern: 0x7F80_0001), Float(bitPattern: 0x7FBF_FFFF)]
    var random = Samples(5)
    for _ in 0..<20_000 {
      let pattern = UInt32.random(in: 0...UInt32.max, using: &random)
      let half = type == .float16 ? pattern & 0xFFFF_E000 | 0x1000 : pattern & 0xFFFF_0000 | 0x8000
      samples += [pattern, half, half &- 1, half &+ 1].map { Float(bitPattern: $0) }
      // float16 covers few of float32's exponents.
      samples.append(Float(Float16(bitPattern: UInt16(pattern & 0x7BFF))) + Float(bitPattern: half) * 0x1p-60)
      samples.append(Float.random(in: -70000...70000, using: &random))
      samples.append(Float.random(in: -0x1p-13...0x1p-13, using: &random))
    }
    for target in InstructionSet.allCases {
      target.run {
        let backend = Backends.single
        let found = bits(backend.converted(backend.tensor(samples, [samples.count]), to: type))
        var wrong = 0
        for (x, pattern) in zip(samples, found) where x.isNaN ? !isNaN(pattern, type) : pattern != nearest(x, type) {
          wrong += 1
          if wrong < 5 { Issue.record("\(target): \(x) became \(String(pattern, radix: 16))") }
        }
        #expect(wrong == 0)
      }
    }
  }

  /// Found by binary search: the bit patterns of finite values are in the order of the values.
  private func nearest(_ x: Float, _ type: ElementType) -> UInt16 {
    let magnitude = Double(x.magnitude)
    func value(_ pattern: UInt16) -> Double {
      type == .float16
        ? Double(Float16(bitPattern: pattern)) : Double(Float(bitPattern: UInt32(pattern) << 16))
    }
    let infinity: UInt16 = type == .float16 ? 0x7C00 : 0x7F80
    // The next value after the largest number would be 2^16 or 2^128, which represents infinity here.
    func extended(_ pattern: UInt16) -> Double {
      pattern == infinity ? (type == .float16 ? 0x1p16 : 0x1p128) : value(pattern)
    }
    var (low, high): (UInt16, UInt16) = (0, infinity)
    if magnitude >= extended(infinity) { low = infinity }
    while high - low > 1 && low != infinity {
      let middle = (low + high) / 2
      if extended(middle) <= magnitude { low = middle } else { high = middle }
    }
    var best = low
    if low != infinity {
      let (below, above) = (magnitude - extended(low), extended(high) - magnitude)
      if above < below || (above == below && high % 2 == 0) { best = high }
    }
    return best | (x.sign == .minus ? 0x8000 : 0)
  }

  private func bits(_ tensor: Tensor) -> [UInt16] {
    tensor.withBytes { Array($0.bindMemory(to: UInt16.self)) }
  }

  private func isNaN(_ pattern: UInt16, _ type: ElementType) -> Bool {
    pattern & 0x7FFF > (type == .float16 ? 0x7C00 : 0x7F80)
  }

  @Test func fileTypesConvertToFloat32() {
    let backend = Backends.single
    let values: [Int32] = [-7, 0, 1 << 20]
    #expect(backend.floats(backend.tensor(values)) == [-7, 0, 1_048_576])
  }

  /// Converting float32 to float32 copies too: the original may change afterwards.
  @Test func conversionCopies() {
    let backend = Backends.single
    let x = backend.tensor([1, 2, 3], [3])
    let copy = backend.converted(x, to: .float32)
    backend.clear(x)
    #expect(backend.floats(copy) == [1, 2, 3])
  }

  @Test func rowsAreScatteredInOrder() {
    let rows: [Int32] = [2, 0, 2, 2]
    let from = Operand([4, 203], seed: 1)
    var expected = [Float](repeating: 1, count: 3 * 203)
    for (i, row) in rows.enumerated() {
      for j in 0..<203 { expected[Int(row) * 203 + j] += from.values[i * 203 + j] }
    }
    for (target, values) in Backends.results({ backend in
      let into = backend.tensor([Float](repeating: 1, count: 3 * 203), [3, 203])
      backend.scatterAddRows(backend.tensor(from.values, from.shape), rows, into: into)
      return [backend.floats(into)]
    }) {
      #expect(sameBits(values[0], expected), "\(target)")
    }
  }
}
