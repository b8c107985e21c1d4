import Datasets
import OrderedJSON
import Tensors
import Tokenizers
import Training

extension TrainingRun {
  /// The first training rows as text, cut where tokens begin or cease to be trained:
  /// `[{"tokens": 31, "parts": [[{"text": "<|im_start|>user...", "trained": false}, ...]]}]`. A row of two completions
  /// has two parts, and a packed one as many as it has documents.
  package func preview(rows count: Int) -> JSONValue {
    .array(trainingSet.items.prefix(count).map { item in preview(of: item) })
  }

  /// More tokens of a row than a page should show.
  private static let previewedTokens = 4000

  private func preview(of item: [Range<Int>]) -> JSONValue {
    var left = Self.previewedTokens
    var parts: [JSONValue] = []
    for range in item where left > 0 {
      parts.append(.array(pieces(of: range.prefix(left))))
      left -= range.count
    }
    return ["tokens": .integer(item.reduce(0) { $0 + $1.count }), "parts": .array(parts)]
  }

  private func pieces(of range: Range<Int>.SubSequence) -> [JSONValue] {
    var pieces: [JSONValue] = []
    var text = ""
    var isTrained = false
    var decoder = model.tokenizer.streamDecoder(skipSpecialTokens: false)
    func close() {
      if !text.isEmpty { pieces.append(["text": .string(text), "trained": .bool(isTrained)]) }
      text = ""
    }
    for index in range {
      let trained = trainingSet.labels[index] != TokenBatch.ignoredLabel
      if trained != isTrained {
        close()
        isTrained = trained
      }
      // A character of several tokens shows whole, with the token that completes it.
      text += decoder.append(trainingSet.ids[index])
    }
    text += decoder.finish()
    close()
    return pieces
  }
}
