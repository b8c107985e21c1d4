import CYAML

/// A node of a YAML document, read by libyaml. Scalars keep their text; aliases are replaced by what they stand for.
indirect enum YAMLNode: Sendable {
  case scalar(String, isQuoted: Bool)
  case sequence([YAMLNode])
  /// Keys in file order, with their lines counted from 1.
  case mapping([(key: YAMLNode, line: Int, value: YAMLNode)])

  /// Why a text is not YAML, and on which line, counted from 1; 0 if unknown.
  struct Failure: Error {
    let problem: String
    let line: Int
  }

  /// Deeper nesting than any recipe has.
  private static let deepest = 200

  /// Reads the only document of `text`; `nil` if there is none.
  static func read(_ text: String) throws(Failure) -> YAMLNode? {
    var parser = yaml_parser_t()
    guard yaml_parser_initialize(&parser) == 1 else { throw Failure(problem: "memory is short", line: 0) }
    defer { yaml_parser_delete(&parser) }
    let bytes = Array(text.utf8)
    let result = bytes.withUnsafeBufferPointer { buffer -> Result<YAMLNode?, Failure> in
      yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
      yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
      return Result { () throws(Failure) in
        var reader = Reader(parser: &parser)
        return try reader.document()
      }
    }
    return try result.get()
  }

  private struct Reader {
    let parser: UnsafeMutablePointer<yaml_parser_t>
    var anchors: [String: YAMLNode] = [:]
    var depth = 0

    init(parser: UnsafeMutablePointer<yaml_parser_t>) { self.parser = parser }

    mutating func document() throws(Failure) -> YAMLNode? {
      var root: YAMLNode?
      while true {
        var event = try next()
        defer { yaml_event_delete(&event) }
        switch event.type {
        case YAML_STREAM_START_EVENT, YAML_DOCUMENT_END_EVENT: continue
        case YAML_DOCUMENT_START_EVENT:
          if root != nil { throw Failure(problem: "expected a single document", line: line(event)) }
          var first = try next()
          defer { yaml_event_delete(&first) }
          root = try node(first)
        default: return root
        }
      }
    }

    private func line(_ event: yaml_event_t) -> Int { Int(event.start_mark.line) + 1 }

    private func next() throws(Failure) -> yaml_event_t {
      var event = yaml_event_t()
      if yaml_parser_parse(parser, &event) == 1 { return event }
      let problem = parser.pointee.problem.map { String(cString: $0) } ?? "it cannot be read"
      throw Failure(problem: problem, line: Int(parser.pointee.problem_mark.line) + 1)
    }

    private mutating func node(_ event: yaml_event_t) throws(Failure) -> YAMLNode {
      depth += 1
      defer { depth -= 1 }
      if depth > YAMLNode.deepest { throw Failure(problem: "values are nested too deeply", line: line(event)) }
      let anchor: String?
      let found: YAMLNode
      switch event.type {
      case YAML_SCALAR_EVENT:
        let scalar = event.data.scalar
        anchor = text(scalar.anchor)
        let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
        let isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE || scalar.style == YAML_ANY_SCALAR_STYLE
        found = .scalar(String(decoding: bytes, as: UTF8.self), isQuoted: !isPlain)
      case YAML_SEQUENCE_START_EVENT:
        anchor = text(event.data.sequence_start.anchor)
        found = try sequence()
      case YAML_MAPPING_START_EVENT:
        anchor = text(event.data.mapping_start.anchor)
        found = try mapping()
      case YAML_ALIAS_EVENT:
        let name = text(event.data.alias.anchor) ?? ""
        guard let known = anchors[name] else {
          throw Failure(problem: "the anchor \(name) is not defined", line: line(event))
        }
        return known
      default: throw Failure(problem: "a value is missing", line: line(event))
      }
      if let anchor { anchors[anchor] = found }
      return found
    }

    private mutating func sequence() throws(Failure) -> YAMLNode {
      var elements: [YAMLNode] = []
      while true {
        var event = try next()
        defer { yaml_event_delete(&event) }
        if event.type == YAML_SEQUENCE_END_EVENT { return .sequence(elements) }
        elements.append(try node(event))
      }
    }

    private mutating func mapping() throws(Failure) -> YAMLNode {
      var members: [(key: YAMLNode, line: Int, value: YAMLNode)] = []
      var names: Set<String> = []
      while true {
        var event = try next()
        defer { yaml_event_delete(&event) }
        if event.type == YAML_MAPPING_END_EVENT { return .mapping(members) }
        let key = try node(event)
        if case .scalar(let name, _) = key, !names.insert(name).inserted {
          throw Failure(problem: "\(name) appears twice", line: line(event))
        }
        var following = try next()
        defer { yaml_event_delete(&following) }
        members.append((key, line(event), try node(following)))
      }
    }

    private func text(_ bytes: UnsafeMutablePointer<yaml_char_t>?) -> String? { bytes.map { String(cString: $0) } }
  }
}
