import Tensors

extension Tensor {
  /// MXFP4 codes whose exponents are apart as blocks of GGML, which have the exponent first, and then element j in the low
  /// half of a byte and element j + 16 in the high half.
  /// - Parameter rows: the rows to take; `nil` for all.
  package func mxfp4Blocks(rows: [Int]?) -> Tensor {
    guard type == .float4, let scales, scales.blockSize == 32, columns % 32 == 0 else {
      preconditionFailure("codes of blocks of 32 in a row")
    }
    let groups = columns / 32
    let taken = rows ?? Array(0..<self.rows)
    let result = CPUBackend.shared.empty([taken.count, columns], .mxfp4)
    let out = result.storage.base + result.byteOffset
    withBytes { codes in
      scales.absmax.withBytes { exponents in
        for (index, row) in taken.enumerated() {
          for group in 0..<groups {
            let from = (row * groups + group) * 16
            let to = out + (index * groups + group) * 17
            to.storeBytes(of: exponents[row * groups + group], as: UInt8.self)
            for j in 0..<16 {
              // Neighbors share a byte of the codes.
              let low = codes[from + j / 2] >> UInt8(j % 2 * 4) & 15
              let high = codes[from + 8 + j / 2] >> UInt8(j % 2 * 4) & 15
              to.storeBytes(of: low | high << 4, toByteOffset: 1 + j, as: UInt8.self)
            }
          }
        }
      }
    }
    return result
  }
}
