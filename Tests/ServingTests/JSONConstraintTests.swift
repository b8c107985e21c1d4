import OrderedJSON
import Serving
import Testing

/// Which texts can still become a document that a schema allows.
@Suite struct JSONConstraintTests {
  private func accepts(_ text: String, _ schema: JSONSchemaDocument) -> Bool {
    var automaton = JSONAutomaton(schema)
    return automaton.read(text) && automaton.isComplete
  }

  @Test(arguments: [
    "{}", "{ }", #"{"a": 1}"#, #"{"a":[1,-2.5e+3,0,0.1],"b":{"c":null}}"#, #"{"a":"\"\\\u00e9é😀","b":true,"c":false}"#,
    "{\n  \"a\": [],\n  \"b\": [[]]\n}", #"{"":""}"#,
  ])
  func objectsAreAccepted(_ text: String) throws {
    #expect(accepts(text, .anyObject))
    // Every prefix can be continued, and none but the whole is complete.
    for length in 0..<text.utf8.count {
      guard let prefix = String(text.utf8.prefix(length)) else { continue }
      var automaton = JSONAutomaton(.anyObject)
      #expect(automaton.read(prefix) && !automaton.isComplete, "\(prefix)")
    }
  }

  @Test(arguments: [
    "[]", "1", #""a""#, "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{"a":01}"#, #"{"a":1.}"#, #"{"a":+1}"#,
    #"{"a":.5}"#,
    #"{"a":tru}"#, #"{"a":"\x"}"#, #"{"a":"\u12g4"}"#, #"{a:1}"#, "{'a':1}", #"{"a":1} x"#, #"{"a":1}}"#,
    "{\"a\":\"\n\"}",
    #"{"a":[1,]}"#, #"{"a" 1}"#, #"{"a":NaN}"#, #"{"a":1e}"#, "{\(String(repeating: " ", count: 30))}",
  ])
  func otherTextIsRejected(_ text: String) { #expect(!accepts(text, .anyObject), "\(text)") }

  private static let person = """
    {"type": "object", "required": ["name", "tags", "kind"], "properties": {
      "name": {"type": "string", "description": "who"}, "age": {"type": ["integer", "null"]},
      "tags": {"type": "array", "items": {"enum": ["a", "b", 3]}, "minItems": 1, "maxItems": 2},
      "kind": {"const": "person"}, "parent": {"$ref": "#"}, "size": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/s"}]}},
     "$defs": {"s": {"type": "object", "properties": {"cm": {"type": "number"}}, "required": ["cm"]}}}
    """

  @Test(arguments: [
    #"{"name":"x","tags":["a"],"kind":"person"}"#, #"{"name":"x","age":3,"tags":["b",3],"kind":"person"}"#,
    #"{"name":"x","age":null,"tags":["a"],"kind":"person","size":1.5}"#,
    #"{"name":"x","tags":["a"],"kind":"person","size":{"cm":-1e2}}"#,
    #"{"name":"x","tags":["a"],"kind":"person","parent":{"name":"","tags":[3],"kind":"person"}}"#,
  ])
  func whatASchemaAllows(_ text: String) throws {
    #expect(accepts(text, try JSONSchemaDocument(JSONValue(parsing: Self.person))), "\(text)")
  }

  @Test(arguments: [
    "{}", #"{"name":"x"}"#, #"{"name":"x","tags":[],"kind":"person"}"#, #"{"name":"x","tags":["c"],"kind":"person"}"#,
    #"{"name":"x","tags":["a","b","a"],"kind":"person"}"#, #"{"name":"x","age":1.5,"tags":["a"],"kind":"person"}"#,
    #"{"name":1,"tags":["a"],"kind":"person"}"#, #"{"name":"x","tags":["a"],"kind":"people"}"#,
    #"{"name":"x","tags":["a"],"kind":"person","other":1}"#, #"{"tags":["a"],"name":"x","kind":"person"}"#,
    #"{"name":"x","tags":["a"],"kind":"person","size":{}}"#, #"{"name":"x","tags":["a"],"kind":"person","size":"s"}"#,
  ])
  func whatASchemaForbids(_ text: String) throws {
    #expect(!accepts(text, try JSONSchemaDocument(JSONValue(parsing: Self.person))), "\(text)")
  }

  @Test func scalarsCanBeRoots() throws {
    let integer = try JSONSchemaDocument(["type": "integer"])
    #expect(accepts("-12", integer) && accepts("0", integer))
    #expect(!accepts("-", integer) && !accepts("1.0", integer) && !accepts("01", integer))
    #expect(accepts("true", try JSONSchemaDocument(["enum": [true, "x"]])))
  }

  @Test(arguments: [
    (#"{"type":"string","pattern":"a+"}"#, "pattern"), (#"{"type":"thing"}"#, "thing"),
    (##"{"$ref":"#/$defs/x"}"##, "x"),
    (#"{"allOf":[{"type":"string"},{"type":"null"}]}"#, "allOf"), ("false", "false"), ("3", "object"),
  ])
  func unusableSchemasAreRefused(_ schema: String, _ named: String) throws {
    let json = try JSONValue(parsing: schema)
    let error = #expect(throws: APIError.self) { _ = try JSONSchemaDocument(json) }
    #expect(error?.status == 400 && error?.message.contains(named) == true, "\(error?.message ?? "")")
  }
}
