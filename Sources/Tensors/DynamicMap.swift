/// How bitsandbytes finds the code of a scale on a processor: by the first of 65,536 even steps, and not by the nearest
/// level itself.
enum DynamicMap {
  /// The 256 levels, ascending.
  static var values: [Float] { ByteMap.signed.values }

  /// The code nearest to each of 65,536 numbers spread evenly from -1 to 1.
  private static let nearestCodes: [UInt8] = {
    let values = Self.values
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
