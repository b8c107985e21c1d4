import CKernels

extension CPUBackend {
  /// Codes and scales have the same bits as those of bitsandbytes 0.50 on a CPU.
  public func quantized(_ tensor: Tensor, to format: FourBitFormat) -> Tensor? {
    precondition(format.type.isFourBitCode, "the type must be nf4 or fp4")
    guard let matrix = tensor.matrix, tensor.type.isFloat else {
      return quantized(converted(tensor, to: .float32), to: format)
    }
    let codes = empty(tensor.shape, format.type)
    let blocks = (tensor.count + format.blockSize - 1) / format.blockSize
    let absmax = empty([blocks])
    let largest: UnsafeMutablePointer<Float> = absmax.pointer()
    pool.runRanges(blocks, grain: max(1, 16384 / format.blockSize)) { range in
      withUnsafePointer(to: matrix) { matrix in
        ck_quantize_4bit(
          matrix, format.type == .nf4 ? ck_nf4 : ck_fp4, format.blockSize, codes.pointer(UInt8.self), largest,
          range.lowerBound, range.upperBound)
      }
    }
    guard UnsafeBufferPointer(start: largest, count: blocks).allSatisfy(\.isFinite) else { return nil }
    let (stored, nested) = format.doubleQuantized ? nest(absmax) : (absmax, nil)
    // The mean of scales close to the largest float can overflow.
    if let nested, !nested.offset.isFinite { return nil }
    let scales = BlockScales(
      count: tensor.count, blockSize: format.blockSize, absmax: stored, nested: nested, original: tensor.type)
    return Tensor(type: format.type, shape: tensor.shape, storage: codes.storage, scales: scales)
  }

  /// Double quantization: subtracts the mean of the scales and quantizes them to 8 bits, with a second-level scale for
  /// each 256 of them.
  private func nest(_ absmax: Tensor) -> (codes: Tensor, nested: BlockScales.Nested) {
    let values = UnsafeBufferPointer(start: absmax.pointer(Float.self), count: absmax.count)
    let offset = TorchSum.sum(values) / Float(max(1, values.count))
    let size = FourBitFormat.nestedBlockSize
    let groups = (values.count + size - 1) / size
    let codes = empty([values.count], .uint8)
    let nestedAbsmax = empty([groups])
    let bytes = codes.pointer(UInt8.self)
    let largest: UnsafeMutablePointer<Float> = nestedAbsmax.pointer()
    pool.runRanges(groups, grain: 16) { range in
      for group in range {
        let members = group * size..<min(values.count, (group + 1) * size)
        var most: Float = 0
        for index in members { most = max(most, abs(values[index] - offset)) }
        largest[group] = most
        let factor = 1 / most
        for index in members {
          bytes[index] = most == 0 ? 0 : DynamicMap.lookupCode(of: (values[index] - offset) * factor)
        }
      }
    }
    return (
      codes, BlockScales.Nested(map: tensor(DynamicMap.signed.values, [256]), absmax: nestedAbsmax, offset: offset)
    )
  }
}

extension CPUBackend {
  /// Codes, scales and biases have the same bits as those of mlx 0.32 on a CPU, which has scales of the tensor's type.
  public func quantized(_ tensor: Tensor, to format: AffineFormat, scaleType: ElementType) -> Tensor? {
    precondition(tensor.columns % format.groupSize == 0, "rows must be whole groups")
    let wide = tensor.type == .float32 ? tensor : converted(tensor, to: .float32)
    let codes = empty(tensor.shape, format.type)
    let groups = tensor.count / format.groupSize
    let (scales, biases) = (empty([groups]), empty([groups]))
    pool.runRanges(groups, grain: max(1, 16384 / format.groupSize)) { range in
      ck_quantize_affine(
        wide.pointer(), format.bits, format.groupSize, codes.pointer(UInt8.self), scales.pointer(), biases.pointer(),
        range.lowerBound, range.upperBound)
    }
    for tensor in [scales, biases] {
      guard UnsafeBufferPointer(start: tensor.pointer(Float.self), count: groups).allSatisfy(\.isFinite) else {
        return nil
      }
    }
    func stored(_ tensor: Tensor) -> Tensor { scaleType == .float32 ? tensor : converted(tensor, to: scaleType) }
    return Tensor(
      type: format.type, shape: tensor.shape, storage: codes.storage,
      scales: BlockScales(
        rows: tensor.rows, columns: tensor.columns, blockSize: format.groupSize, scales: stored(scales),
        biases: stored(biases), original: scaleType))
  }
}

/// The sum of float32 values in the order in which `torch.sum` adds them on one CPU thread, so that the mean of scales
/// has the same bits: 32 interleaved sums, each a cascade of four levels.
enum TorchSum {
  private typealias Lanes = SIMD8<Float>

  static func sum(_ values: UnsafeBufferPointer<Float>) -> Float {
    let vectors = values.count / 8
    func vector(_ index: Int) -> Lanes {
      var lanes = Lanes()
      for lane in 0..<8 { lanes[lane] = values[8 * index + lane] }
      return lanes
    }
    var partial = interleavedSums(vectors / 4, vector)
    for index in vectors / 4 * 4..<vectors { partial[0] += vector(index) }
    let lanes = partial[0] + partial[1] + partial[2] + partial[3]
    var total: Float = 0
    for index in vectors * 8..<values.count { total += values[index] }
    for lane in 0..<8 { total += lanes[lane] }
    return total
  }

  /// The sums of vectors 0, 4, 8, ..., of 1, 5, 9, ..., and so on, `count` vectors each.
  private static func interleavedSums(_ count: Int, _ vector: (Int) -> Lanes) -> [Lanes] {
    let levels = 4
    let logarithm = count <= 2 ? 1 : Int.bitWidth - (count - 1).leadingZeroBitCount
    let power = max(4, logarithm / levels)
    let step = 1 << power
    var sums = [[Lanes]](repeating: [Lanes](repeating: Lanes(), count: 4), count: levels)
    func add(_ index: Int) { for k in 0..<4 { sums[0][k] += vector(4 * index + k) } }
    var index = 0
    while index + step <= count {
      for _ in 0..<step {
        add(index)
        index += 1
      }
      for level in 1..<levels {
        for k in 0..<4 {
          sums[level][k] += sums[level - 1][k]
          sums[level - 1][k] = Lanes()
        }
        if index & ((step - 1) << (level * power)) != 0 { break }
      }
    }
    while index < count {
      add(index)
      index += 1
    }
    for level in 1..<levels { for k in 0..<4 { sums[0][k] += sums[level][k] } }
    return sums[0]
  }
}
