// Edits to the templates of model families, one list per family. Each anchor must occur exactly once in the template.
// The values are checked against TRL 1.16 by Tests/Goldens/chat_templates/training_goldens.json.

extension TrainingTemplateEdits {
  static let gptOSS = TrainingTemplateEdits(
    family: "gpt-oss", keepsReasoning: false,
    edits: [
      .init(
        insert: #"""
          {%- generation %}
                  
          """#,
        before: #"""
          {%- if "tool_calls" in message %}
                      {#- We need
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == 'tool' -%}
                  {%- if last_tool_call.name is none
          """#),
    ])

  static let idefics3 = TrainingTemplateEdits(
    family: "Idefics3", keepsReasoning: false,
    edits: [
      .init(
        replace: "{% for message in messages %}{{message['role'].capitalize()}}{% if",
        with: #"""
          {% for message in messages %}{% if message['role'] == 'assistant' %}Assistant:{% generation %}{% if \#
          message['content'][0]['type'] != 'image' %} {% endif %}{% for line in message['content'] %}{% if \#
          line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif \#
          %}{% endfor %}<end_of_utterance>
          {% endgeneration %}{% else %}{{message['role'].capitalize()}}{% if
          """#),
      .init(
        replace: #"""
          <end_of_utterance>
          {% endfor %}{% if add_generation_prompt
          """#,
        with: #"""
          <end_of_utterance>
          {% endif %}{% endfor %}{% if add_generation_prompt
          """#),
    ])

  static let lfm2 = TrainingTemplateEdits(
    family: "LFM2", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          	{{- content + "<|im_end|>\n" -}}
          {%- endfor -%}
          """#,
        with: #"""
          	{%- if message["role"] == "assistant" -%}
          		{% generation %}{{- content + "<|im_end|>\n" -}}{% endgeneration %}
          	{%- else -%}
          	{{- content + "<|im_end|>\n" -}}
          	{%- endif -%}
          {%- endfor -%}
          """#)
    ])

  static let lfm2Revision2 = TrainingTemplateEdits(
    family: "LFM2 (revision 2)", keepsReasoning: false,
    edits: [
      .init(
        insert: #"""
          		{% generation %}

          """#,
        after: #"""
          {%- if message["role"] == "assistant" and message.get("tool_calls") -%}

          """#),
      .init(
        insert: #"""
          		{% endgeneration %}
          	{%- elif message["role"] == "assistant" -%}
          		{% generation %}{{- content + "<|im_end|>\n" -}}{% endgeneration %}

          """#,
        before: #"""
          	{%- else -%}
          		{{- content + "<|im_end|>\n" -}}
          """#),
    ])

  static let llama3 = TrainingTemplateEdits(
    family: "Llama 3", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          {% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>

          '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + \#
          content %}{% endif %}{{ content }}
          """#,
        with: #"""
          {% if loop.index0 == 0 %}{{ bos_token }}{% endif %}{{ '<|start_header_id|>' + message['role'] + \#
          '<|end_header_id|>

          ' }}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | trim + \#
          '<|eot_id|>' }}{% endgeneration %}{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}
          """#)
    ])

  static let llavaNeXT = TrainingTemplateEdits(
    family: "LLaVA-NeXT", keepsReasoning: false,
    edits: [
      .init(
        replace: "{{ ' ' + message['content'][0]['text'] + '</s> '}}",
        with: #"""
          {% generation %}{{ ' ' + message['content'][0]['text'] + '</s>' }}{% endgeneration %}{{ ' ' }}
          """#)
    ])

  static let museGlimmer = TrainingTemplateEdits(
    family: "Muse Glimmer", keepsReasoning: false,
    edits: [
      .init(
        insert: #"""
          {%- generation %}
                  
          """#,
        before: #"""
          {%- if message.get('reasoning_content') -%}
                      {{- '<|start|>assistant to=self
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        after: #"""
          {{- ('<|eot|>' if end_turn else '<|eom|>') -}}
                  {%- endif -%}
          """#),
    ])

  static let nemotron3 = TrainingTemplateEdits(
    family: "Nemotron 3", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          {{- '<|im_start|>assistant\n' }}
                          {%- set include_content
          """#,
        with: #"""
          {{- '<|im_start|>assistant\n' }}
                      {%- generation %}
                          {%- set include_content
          """#),
      .init(
        replace: #"""
                          {%- endfor %}
                          {{- '<|im_end|>\n' }}
                  {%- else %}
          """#,
        with: #"""
                          {%- endfor %}
                          {{- '<|im_end|>\n' }}
                      {%- endgeneration %}
                  {%- else %}
          """#),
      .init(
        replace: #"""
          {{- '<|im_start|>assistant\n' ~ (content | default('', true) | string | trim) ~ '<|im_end|>\n' }}
          """#,
        with: #"""
          {{- '<|im_start|>assistant\n' }}
                          {%- generation %}
                          {{- (content | default('', true) | string | trim) ~ '<|im_end|>\n' }}
                          {%- endgeneration %}
          """#),
      .init(
        replace: #"{{- '<|im_start|>assistant\n' ~ c ~ '<|im_end|>\n' }}"#,
        with: #"""
          {{- '<|im_start|>assistant\n' }}
                              {%- generation %}
                              {{- c ~ '<|im_end|>\n' }}
                              {%- endgeneration %}
          """#),
      .init(
        replace: #"{{- '<|im_start|>assistant\n<|im_end|>\n' }}"#,
        with: #"""
          {{- '<|im_start|>assistant\n' }}
                              {%- generation %}
                              {{- '<|im_end|>\n' }}
                              {%- endgeneration %}
          """#),
    ])

  static let phi3 = TrainingTemplateEdits(
    family: "Phi-3", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          {{'<|assistant|>
          ' + message['content'] + '<|end|>
          '}}
          """#,
        with: #"""
          {{'<|assistant|>
          '}}{% generation %}{{ message['content'] + '<|end|>
          '}}{% endgeneration %}
          """#),
      .init(
        insert: #"""
          {% elif messages[-1]['role'] == 'assistant' %}{% generation %}{{ eos_token }}{% endgeneration %}
          """#, before: "{% else %}{{ eos_token }}{% endif %}"),
    ])
}
