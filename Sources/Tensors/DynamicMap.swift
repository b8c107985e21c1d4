/// The signed 8-bit numbers that bitsandbytes quantizes scales with (dynamic tree quantization, arXiv:1511.04561): the
/// smaller a number, the fewer bits for its fraction.
enum DynamicMap {
  /// The 256 values, ascending, rounded as `create_dynamic_map` rounds them.
  static let values: [Float] = {
    var values: [Float] = [0, 1]
    let powers: [Float] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
    for (exponent, power) in powers.enumerated() {
      let boundaries = tenthToOne(count: (1 << exponent) + 1)
      for (low, high) in zip(boundaries, boundaries.dropFirst()) {
        let mean = (low + high) / 2
        values += [power * mean, -(power * mean)]
      }
    }
    return values.sorted()
  }()

  /// torch.linspace(0.1, 1, count): from both ends to the middle, with one rounding each.
  private static func tenthToOne(count: Int) -> [Float] {
    let (start, end): (Float, Float) = (0.1, 1)
    let step = (end - start) / Float(count - 1)
    return (0..<count).map { index in
      index < count / 2
        ? start.addingProduct(step, Float(index)) : end.addingProduct(-step, Float(count - 1 - index))
    }
  }

  /// The code nearest to each of 65,536 numbers spread evenly from -1 to 1: bitsandbytes rounds to these first.
  static let nearestCodes: [UInt8] = {
    var code = 0
    return (0..<1 << 16).map { index in
      let number = -1 + 2 * Double(index) / 65535
      func distance(_ code: Int) -> Double { abs(number - Double(values[code])) }
      while code < 255, distance(code + 1) < distance(code) { code += 1 }
      return UInt8(code)
    }
  }()

  /// The code of a number between -1 and 1.
  static func code(of number: Float) -> UInt8 {
    if number.isNaN { return 0 }
    let clamped = min(max(number, -1), 1)
    return nearestCodes[Int((clamped + 1) * 32767.5 + 0.5)]
  }
}
