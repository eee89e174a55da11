/** A tooltip for a control that has a name of its own; it shows on hover and on keyboard focus. */
import type { ReactElement } from 'react';
import { Focusable, Tooltip, TooltipTrigger } from 'react-aria-components';

type FocusableChild = Parameters<typeof Focusable>[0]['children'];

export function Tip(props: { text: string; children: ReactElement }) {
  return (
    <TooltipTrigger delay={350} closeDelay={60}>
      <Focusable>{props.children as FocusableChild}</Focusable>
      <Tooltip className="tooltip" offset={6}>
        {props.text}
      </Tooltip>
    </TooltipTrigger>
  );
}
