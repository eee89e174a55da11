/** A small picture of a room for people who have not seen one: two carets in a file, and a run that passed. */
import { CheckCircle2 } from 'lucide-react';

export function Vignette() {
  return (
    <div className="vignette" aria-hidden="true">
      <div className="vignette-tab">
        greeting.py
        <span style={{ background: '#c2497f' }}>A</span>
        <span style={{ background: '#2878c8' }}>B</span>
      </div>
      <pre>
        <b>def</b> greet(name):
        <Caret color="#c2497f" name="Ada" />
        {'\n'}
        {'    '}
        <b>if not</b> name.strip():{'\n'}
        {'        '}
        <b>raise</b> ValueError(<i>"who?"</i>){'\n'}
        {'    '}
        <b>return</b> <i>f"Hello, {'{name}'}!"</i>
        <Caret color="#2878c8" name="Bo" />
        {'\n'}
      </pre>
      <div className="vignette-run">
        <CheckCircle2 size={14} />
        Passed<span>0.4 s · after Bo's edit</span>
      </div>
    </div>
  );
}

function Caret(props: { color: string; name: string }) {
  return (
    <span className="vignette-caret" style={{ background: props.color }}>
      <em style={{ background: props.color }}>{props.name}</em>
    </span>
  );
}
