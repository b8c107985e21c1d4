import Diagnostics
import Tensors

/// A gated convolution over the last few tokens (LFM2): C · conv(B · x), with B, C and x computed from the input.
struct ShortConvolution: TokenMixer {
  private let length: Int
  private let input: Linear
  private let weight: Parameter
  private let bias: Parameter?
  private let output: Linear

  init(length: Int, hasBias: Bool, _ weights: LayerWeights) throws(SwiftletError) {
    let hidden = weights.configuration.hiddenSize
    self.length = length
    input = try weights.linear("conv.in_proj", 3 * hidden, hidden, bias: hasBias)
    weight = try weights.vector("conv.conv.weight", [hidden, 1, length])
    bias = hasBias ? try weights.vector("conv.conv.bias", [hidden]) : nil
    output = try weights.linear("conv.out_proj", hidden, hidden, bias: hasBias)
  }

  var linearLayers: [Linear] { [input, output] }
  var vectors: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }

  func forward(_ x: Variable, _ context: inout TokenContext, on tape: Tape) -> Variable {
    let bcx = tape.linear(x, [input])
    let convolved =
      switch context.past {
      case .batch(let parts):
        tape.shortConvolution(
          bcx, weight: weight, bias: bias,
          taps: ConvolutionTaps(starts: TokenContext.Part.joinedStarts(parts), length: length))
      case .cache(let sequences, let layer):
        Variable(sequences.map(bcx.value, on: tape.backend) { continued($0, $1, layer, on: tape.backend) })
      }
    return tape.linear(convolved, [output])
  }

  /// The same for tokens that follow those in the cache, which keeps the convolution's last inputs.
  private func continued(_ bcx: Tensor, _ cache: KeyValueCache, _ layer: Int, on backend: any Backend) -> Tensor {
    let parts = ConvolutionParts(bcx)
    let inputs = cache.following(parts.product(on: backend), count: length - 1, layer: layer)
    let taps = ConvolutionTaps(following: bcx.rows, length: length)
    return parts.gated(
      backend.convolution(inputs, weight: weight.value, bias: bias?.value, taps: taps), on: backend)
  }
}
