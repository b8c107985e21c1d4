import Foundation
import TensorReferences
import Tensors
import Testing

/// Gated short convolutions.
struct ConvolutionTests {
  @Test func taps() {
    #expect(ConvolutionTaps(starts: [0, 2, 3], length: 3).rows == [-1, -1, 0, -1, 0, 1, -1, -1, 2])
    // Sequences that continue a prefix of two rows.
    #expect(
      ConvolutionTaps(starts: [2, 4, 5], length: 3).rows == [-1, -1, 0, -1, 0, 1, 0, 1, 2, 1, 2, 3, 0, 1, 4])
    #expect(ConvolutionTaps(following: 2, length: 3).rows == [0, 1, 2, 1, 2, 3])
  }

  /// Sizes that aren't multiples of 8, single rows, several sequences, a shared prefix.
  @Test(arguments: [([0, 7], 5, 3), ([0, 1, 4, 4, 9], 8, 3), ([3, 5, 11], 19, 4), ([0, 2], 3, 7), ([0, 0], 4, 2)])
  func shortConvolution(starts: [Int], channels: Int, length: Int) {
    let rows = starts[starts.count - 1]
    let taps = ConvolutionTaps(starts: starts, length: length)
    OperationCheck(
      variables: [Operand([rows, 3 * channels], seed: 1)],
      parameters: [Operand([channels, 1, length], seed: 2), Operand([channels], seed: 3)],
      run: { tape, x, p in [tape.shortConvolution(x[0], weight: p[0], bias: p[1], taps: taps)] },
      reference: { graph, x, p in
        let (weight, bias) = (p[0].flat, p[1].flat)
        let out = x[0].rows.indices.map { row in
          (0..<channels).map { channel in
            var sum = bias[channel]
            for tap in 0..<length {
              let source = Int(taps.rows[row * length + tap])
              guard source >= 0 else { continue }
              let input = graph.times(x[0].rows[source][channel], x[0].rows[source][2 * channels + channel])
              sum = graph.add(sum, graph.times(weight[channel * length + tap], input))
            }
            return graph.times(x[0].rows[row][channels + channel], sum)
          }
        }
        return [ReferenceMatrix(graph, out).flat]
      }
    ).verify()
  }
}
